"""One MLflow run, through MlflowClient alone: no global active run that others could end."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_USER

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.tracking.provenance import Provenance

Status = Literal["FINISHED", "FAILED", "KILLED"]

_SECONDS_BETWEEN_WRITES = 2.0
_PARAMS_AT_ONCE = 100  # MLflow takes no more in one call


class MlflowRun:
    """An open run.

    Args:
        client: Of the store that the run is in.
        run_id: The run.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id
        self._pending: list[Metric] = []
        self._written_at = time.monotonic()

    def log_params(self, params: dict[str, Any]) -> None:
        """Records parameters, nested sections as dotted names."""
        flat = [Param(key, str(value)) for key, value in _flatten(params)]
        for first in range(0, len(flat), _PARAMS_AT_ONCE):
            self._client.log_batch(self.run_id, params=flat[first : first + _PARAMS_AT_ONCE])

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update; they reach the store every two seconds or so."""
        now_ms = time.time_ns() // 1_000_000
        self._pending += [Metric(name, value, now_ms, step) for name, value in metrics.items()]
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
            self._write_pending()

    def set_tag(self, key: str, value: str) -> None:
        """Says something of the run to search by."""
        self._client.set_tag(self.run_id, key, value)

    def log_text(self, text: str, artifact: str) -> None:
        """Keeps a text as a file of the run."""
        self._client.log_text(self.run_id, text, artifact)

    def log_file(self, path: Path) -> None:
        """Keeps a copy of a file with the run."""
        self._client.log_artifact(self.run_id, str(path))

    def end(self, status: Status) -> None:
        """Closes the run."""
        self._write_pending()
        self._client.set_terminated(self.run_id, status)

    def _write_pending(self) -> None:
        if self._pending:
            self._client.log_batch(self.run_id, metrics=self._pending)
        self._pending = []
        self._written_at = time.monotonic()


def tracking_uri(project: Path) -> str:
    """The store of MLFLOW_TRACKING_URI, or else the project's mlflow.db."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project / 'mlflow.db'}"


def open_run(
    *, project: Path, experiment: str, name: str, provenance: Provenance, tags: dict[str, str]
) -> MlflowRun:
    """Opens a run in the tracking store.

    Args:
        project: The project's folder, where mlflow.db and mlruns/ lie.
        experiment: MLflow's experiment; made if it is not there yet.
        name: Shown for the run.
        provenance: Code and command that made it.
        tags: More to search by.

    Raises:
        InputError: The store does not answer.
    """
    uri = tracking_uri(project)
    try:
        with _impatient():
            client = MlflowClient(tracking_uri=uri)
            experiment_id = _experiment_id(client, experiment, project, uri)
            run = client.create_run(experiment_id, run_name=name)
    except MlflowException as error:
        raise InputError(
            where=f"MLflow tracking store {uri}",
            got=f"no answer ({str(error).splitlines()[0]})",
            expected="a store that takes runs",
            remedy="Start the server, or correct or unset MLFLOW_TRACKING_URI.",
        ) from error
    all_tags = {
        **tags,
        MLFLOW_USER: provenance.user,
        MLFLOW_SOURCE_NAME: provenance.command,
        MLFLOW_GIT_COMMIT: provenance.git_commit,
        "git.tree": provenance.git_tree,
    }
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in all_tags.items()])
    return MlflowRun(client, run.info.run_id)


def reopen_run(*, project: Path, experiment: str, tags: dict[str, str]) -> MlflowRun | None:
    """Opens the newest run that carries all the given tags once more; None if there is none."""
    client = MlflowClient(tracking_uri=tracking_uri(project))
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = client.search_runs([found.experiment_id], query, max_results=1)
    if not runs:
        return None
    client.update_run(runs[0].info.run_id, status="RUNNING")
    return MlflowRun(client, runs[0].info.run_id)


def _experiment_id(client: MlflowClient, name: str, project: Path, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server knows where its artifacts go; a database file leaves it to whoever makes the
    # experiment, and must not depend on the folder that a command was started in.
    local = uri.startswith("sqlite:")
    location = (project / "mlruns").as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


@contextmanager
def _impatient() -> Iterator[None]:
    """A server that is not there is said at once, not after minutes of retries."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    added = [name for name in limits if name not in os.environ]
    os.environ.update({name: limits[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _flatten(params: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
