"""MLflow, through MlflowClient alone."""
