"""MLflow's tracking store: where it is, and how long it is waited for."""

import fcntl
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import redacted, without_credentials

_URI = "MLFLOW_TRACKING_URI"


def tracking_uri(project: Path) -> str:
    """The store of MLFLOW_TRACKING_URI, or else the project's mlflow.db."""
    hide_credentials()
    return os.environ.get(_URI) or f"sqlite:///{project / 'mlflow.db'}"


def hide_credentials() -> None:
    """Takes user and password out of MLFLOW_TRACKING_URI, to where MLflow looks for them, too.

    MLflow and what it is built on write a server's address into messages.
    """
    parts = urlsplit(os.environ.get(_URI, ""))
    if parts.scheme in {"http", "https"} and parts.username and parts.password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        os.environ[_URI] = without_credentials(os.environ[_URI])


def first_line(error: Exception) -> str:
    """What an error of MLflow's says, without secrets."""
    return redacted((str(error).splitlines() or [type(error).__name__])[0])


def connect(project: Path) -> MlflowClient:
    """A client of the tracking store.

    MLflow makes the tables of a database file on the first connection, and two processes that do so
    at once crash: here one waits for the other.

    Raises:
        InputError: The store is a file that cannot be written.
    """
    uri = tracking_uri(project)
    database = _database_file(uri)
    if database is None:
        return MlflowClient(tracking_uri=uri)
    try:
        with database.with_name(f"{database.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return MlflowClient(tracking_uri=uri)
    except OSError as error:
        raise InputError(
            where=f"MLflow tracking store {uri}",
            got=error.strerror or str(error),
            expected="a file that can be written and locked",
            remedy="Give the right to write there, or correct or unset MLFLOW_TRACKING_URI.",
        ) from error


def _database_file(uri: str) -> Path | None:
    """Where a store that is a SQLite file lies."""
    scheme, _, path = uri.partition(":///")
    return Path(path).absolute() if scheme.split("+")[0] == "sqlite" and path else None


def run_page(uri: str, experiment_id: str, run_id: str) -> str:
    """The address at which MLflow shows a run, of a database once `mlflow ui` is started."""
    # Otherwise MLflow shows it among its pages on language models.
    page = f"/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
    if uri.startswith(("http:", "https:")):
        return without_credentials(uri).rstrip("/") + page
    return f"http://127.0.0.1:5000{page} (mlflow ui shows it)"


def fail_fast() -> None:
    """Makes MLflow say at once that a server is not there, not after minutes of retries."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
