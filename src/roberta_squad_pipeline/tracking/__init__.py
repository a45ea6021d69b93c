"""MLflow, through MlflowClient alone."""

import os

os.environ.setdefault(
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
)  # a run says its own in the end
# Before MLflow is imported: its log messages go where all others go, past the filter of secrets.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar a file says nothing
