"""One MLflow run, through MlflowClient alone: no global active run that others could end."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_USER

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.spool import Spool, Status
from roberta_squad_pipeline.tracking.store import (
    connect,
    fail_fast,
    first_line,
    run_page,
    tracking_uri,
)
from roberta_squad_pipeline.tracking.tracker import flat_params

_logger = logging.getLogger(__name__)


class MlflowRun:
    """An open run. What it is told is kept on disk and sent by a thread of its own.

    Args:
        uri: Of the store that the run is in.
        run_id: The run.
        unsent: Folder for what could not be sent yet.
        page: Where MLflow shows it, if that is known.
    """

    def __init__(self, uri: str, run_id: str, unsent: Path, page: str | None = None) -> None:
        self.run_id = run_id
        self.page = page
        self._spool = Spool(unsent / run_id, uri, run_id)

    def log_params(self, params: dict[str, Any]) -> None:
        """Records parameters, nested sections as dotted names."""
        self._spool.add({"kind": "params", "params": list(flat_params(params).items())})

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update; they reach the store every two seconds or so."""
        now_ms = time.time_ns() // 1_000_000
        values = [(name, value, now_ms, step) for name, value in metrics.items()]
        self._spool.add({"kind": "metrics", "metrics": values})

    def set_tag(self, key: str, value: str) -> None:
        """Says something of the run to search by."""
        self._spool.add({"kind": "tags", "tags": {key: value}})

    def supersedes(self, previous_run_id: str) -> None:
        """Says that this run carries on an earlier one, which was killed without a word."""
        self._spool.add({"kind": "supersede", "run_id": previous_run_id})

    def log_text(self, text: str, artifact: str) -> None:
        """Keeps a text as a file of the run."""
        path = self._spool.keep_file(artifact)
        path.write_text(text, encoding="utf-8")
        self._upload(path)

    def log_file(self, path: Path) -> None:
        """Keeps a copy of a file with the run."""
        self._upload(Path(shutil.copy(path, self._spool.keep_file(path.name))))

    def log_model(self, reader: Path, registered_as: str) -> None:
        """Keeps a copy of a trained reader as a model that MLflow serves, and registers it.

        A model that cannot be packed is told of and costs no more than itself.

        Args:
            reader: The reader's folder.
            registered_as: Name in MLflow's registry.
        """
        from roberta_squad_pipeline.tracking.models import MODEL, pack_model

        folder = self._spool.keep_file(MODEL)
        try:
            pack_model(reader, folder)
        except (MlflowException, OSError) as error:
            said = first_line(error)
            _logger.warning("the reader in %s is not a model in MLflow: %s", reader, said)
            return
        path = folder.relative_to(self._spool.folder)
        self._spool.add({"kind": "model", "path": str(path), "registered_as": registered_as})

    def end(self, status: Status) -> None:
        """Closes the run; says so if the store could not be told all of it."""
        end_time_ms = time.time_ns() // 1_000_000
        self._spool.add({"kind": "end", "status": status, "end_time_ms": end_time_ms})
        self._spool.close()

    def _upload(self, kept: Path) -> None:
        path = kept.relative_to(self._spool.folder)
        self._spool.add({"kind": "file", "path": str(path)})


def open_run(
    *,
    project: Path,
    experiment: str,
    name: str,
    provenance: Provenance,
    tags: dict[str, str],
    unsent: Path,
) -> MlflowRun:
    """Opens a run in the tracking store.

    Args:
        project: The project's folder, where mlflow.db and mlruns/ lie.
        experiment: MLflow's experiment; made if it is not there yet.
        name: Shown for the run.
        provenance: Code and command that made it.
        tags: More to search by.
        unsent: Folder for what could not be sent yet.

    Raises:
        InputError: The store does not answer.
    """
    uri = tracking_uri(project)
    try:
        fail_fast()
        client = connect(project)
        experiment_id = _experiment_id(client, experiment, project, uri)
        run = client.create_run(experiment_id, run_name=name)
    except MlflowException as error:
        raise InputError(
            where=f"MLflow tracking store {uri}",
            got=f"no answer ({first_line(error)})",
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
    page = run_page(uri, experiment_id, run.info.run_id)
    return MlflowRun(uri, run.info.run_id, unsent, page)


def reopen_run(
    *, project: Path, experiment: str, tags: dict[str, str], unsent: Path
) -> MlflowRun | None:
    """Opens the newest run that carries all the given tags once more; None if there is none."""
    uri = tracking_uri(project)
    client = connect(project)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = client.search_runs([found.experiment_id], query, max_results=1)
    if not runs:
        return None
    client.update_run(runs[0].info.run_id, status="RUNNING")
    return MlflowRun(uri, runs[0].info.run_id, unsent)


def _experiment_id(client: MlflowClient, name: str, project: Path, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server knows where its artifacts go; a database file leaves it to whoever makes the
    # experiment, and must not depend on the folder that a command was started in.
    local = uri.startswith("sqlite:")
    location = (project / "mlruns").as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # Another run has made it since it was looked for.
        return _experiment_id(client, name, project, uri)
