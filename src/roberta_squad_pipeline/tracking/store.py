"""MLflow's tracking store: its address and errors, how long to wait for it, earlier runs in it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import pandas as pd
from mlflow import MlflowClient, __version__
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from sqlalchemy.exc import SQLAlchemyError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.common.redaction import redacted, without_credentials
from roberta_squad_pipeline.tracking.tracker import Journal

_URI = "MLFLOW_TRACKING_URI"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 (the name within it is random)
"""Linux's file system that never waits for a disk."""
SERVER = ("http:", "https:")
_QUESTIONS = "questions.parquet"
"""Name of the catalog's `questions` as an artifact."""


def tracking_uri(project: Path) -> str:
    """The address of the store: MLFLOW_TRACKING_URI, or else the project's mlflow.db."""
    prepare_client()
    return os.environ.get(_URI) or f"sqlite:///{project / 'mlflow.db'}"


def prepare_client() -> None:
    """Tells MLflow by environment variables how to ask a server.

    Its address loses user and password to the variables that MLflow has for them, since MLflow and
    its libraries write the address into messages. A missing server is reported at once, not after
    minutes of retries.
    """
    parts = urlsplit(os.environ.get(_URI, ""))
    if parts.scheme in {"http", "https"} and parts.username and parts.password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        os.environ[_URI] = without_credentials(os.environ[_URI])
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


def first_line(error: Exception) -> str:
    """The first line of an error's message, without secrets."""
    return redacted((str(error).splitlines() or [type(error).__name__])[0])


@contextmanager
def connected(project: Path) -> Iterator[MlflowClient]:
    """Connects to the tracking store; its errors within the block become an `InputError`.

    Raises:
        InputError: See `refusal`, or the store is a file that cannot be written.
    """
    uri = tracking_uri(project)
    try:
        yield _connect(uri)
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError) as error:
        raise refusal(error, uri) from error


def refusal(error: Exception, uri: str) -> InputError:
    """Explains an error of the store, and what to do about it."""
    said = first_line(error)
    got, expected = f"no answer ({said})", "a store that takes runs"
    remedy = "Start the server, or correct or unset MLFLOW_TRACKING_URI."
    if "out-of-date database schema" in said:
        got, expected = "a database of another release of MLflow", f"one of MLflow {__version__}"
        remedy = f"Back it up, then: mlflow db upgrade {uri}"
    elif "filesystem tracking backend" in said:
        got, expected = "a folder of files, which MLflow no longer takes", "a database or a server"
        remedy = "Unset MLFLOW_TRACKING_URI, or set one: sqlite:///mlflow.db. `mlflow "
        remedy += "migrate-filestore` moves what is in the folder."
    elif getattr(error, "error_code", None) in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        got, expected = f"no access ({said})", "credentials that the server takes"
        remedy = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        remedy += "MLFLOW_TRACKING_TOKEN, or ask whoever runs the server for the right."
    elif isinstance(error, ModuleNotFoundError):
        remedy = "Install the database's driver, or correct or unset MLFLOW_TRACKING_URI."
    return InputError(
        where=f"MLflow tracking store {uri}", got=got, expected=expected, remedy=remedy
    )


def _connect(uri: str) -> MlflowClient:
    # Two processes that create a database at once crash: here one waits for the other.
    database = _database_file(uri)
    if database is None:
        return MlflowClient(tracking_uri=uri)
    try:
        with database.with_name(f"{database.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not database.exists():
                _create(database)
            return MlflowClient(tracking_uri=uri)
    except OSError as error:
        raise InputError(
            where=f"MLflow tracking store {uri}",
            got=error.strerror or str(error),
            expected="a file that can be written and locked",
            remedy="Grant the right to write there, or correct or unset MLFLOW_TRACKING_URI.",
        ) from error


def _create(database: Path) -> None:
    """Makes a database file with MLflow's tables.

    MLflow makes them by some seventy migrations, and would wait for the disk after each.
    """
    memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with TemporaryDirectory(dir=memory) as folder:
        made = Path(folder, database.name)
        MlflowClient(tracking_uri=f"sqlite:///{made}")
        with written_atomically(database) as temp:
            shutil.copyfile(made, temp)


def _database_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores."""
    scheme, _, path = uri.partition(":///")
    return Path(path).absolute() if scheme.split("+")[0] == "sqlite" and path else None


def runs_page(uri: str, experiment_id: str, rest: str) -> str:
    """The address of a page on runs: `rest` is what follows /runs, up to its last parameter.

    A database has pages only while `mlflow ui` runs.
    """
    server = without_credentials(uri) if uri.startswith(SERVER) else "http://127.0.0.1:5000"
    # Without the last parameter, MLflow shows its pages for language models.
    route = f"#/experiments/{experiment_id}/runs{rest}workflowType=machine_learning"
    return f"{server.rstrip('/')}/{route}"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run with the status FINISHED."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    model_id: str | None = None
    """MLflow's id of its model; None if it made none."""


def finished_runs(journal: Journal, tags: dict[str, str]) -> list[FinishedRun]:
    """Finds finished runs that have all of these tags.

    Args:
        journal: Where they are recorded.
        tags: By name.

    Returns:
        The newest first; none if the experiment does not exist yet.
    """
    with connected(journal.project) as client:
        runs = search(client, journal.experiment, tags, status="FINISHED")
    return [
        FinishedRun(
            run.info.run_id, run.info.run_name, run.data.tags, run.data.params, _model_of(run)
        )
        for run in runs
    ]


def _model_of(run: Run) -> str | None:
    models = run.outputs.model_outputs if run.outputs else []
    return str(models[0].model_id) if models else None


def search(
    client: MlflowClient, experiment: str, tags: dict[str, str], **attributes: str
) -> list[Run]:
    """Finds runs that have all of these tags and attributes, the newest first."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    wanted += [f"attributes.{key} = '{value}'" for key, value in attributes.items()]
    return client.search_runs(
        [found.experiment_id],
        " and ".join(wanted),
        max_results=SEARCH_MAX_RESULTS_THRESHOLD,
        order_by=["start_time DESC"],
    )


def load_questions(journal: Journal, run_id: str) -> pd.DataFrame | None:
    """Loads the table of questions of a run (see `judged`); None if it has none."""
    with connected(journal.project) as client, TemporaryDirectory() as folder:
        if all(artifact.path != _QUESTIONS for artifact in client.list_artifacts(run_id)):
            return None
        return pd.read_parquet(client.download_artifacts(run_id, _QUESTIONS, folder))
