"""One MLflow run, through MlflowClient alone: no global active run that others could end."""

import itertools
import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME,
    MLFLOW_GIT_COMMIT,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking.models import Registration, digest_of
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.spool import Spool, Status
from roberta_squad_pipeline.tracking.store import (
    connected,
    first_line,
    run_page,
    tracking_uri,
)
from roberta_squad_pipeline.tracking.tracker import flat_params

_Value = tuple[str, float, int, int]
"""Name, value, time in milliseconds and step."""

_BEST_F1 = "dev/best_f1"
_VIEW = "scores"
_VIEW_OF_RUNS = {
    "selectedColumns": [
        "attributes.`Created`",
        f"metrics.`{_BEST_F1}`",
        "attributes.`Models`",
        "params.`model.encoder`",
        "params.`training.updates`",
    ],
    "orderByKey": f"metrics.`{_BEST_F1}`",
    "orderByAsc": False,
}
"""The run list with the best first and its score, at …/runs?viewStateShareKey=scores."""
_SECONDS_BETWEEN_LOADS = 10.0
_EXPERIMENT_TAGS = {
    MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME: _BEST_F1,
    f"mlflow.sharedViewState.{_VIEW}": json.dumps(_VIEW_OF_RUNS),
}

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
        self._scores: list[_Value] = []
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None
        self._spool = Spool(unsent / run_id, uri, run_id)

    def log_params(self, params: dict[str, Any]) -> None:
        """Records parameters, nested sections as dotted names."""
        self._spool.add({"kind": "params", "params": list(flat_params(params).items())})

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update; they reach the store every two seconds or so."""
        self._log_values(metrics, step)

    def log_scores(self, scores: dict[str, float]) -> None:
        """Records what the reader scores, of the run and of its model."""
        self._scores = self._log_values(scores, step=0)

    def _log_values(self, metrics: dict[str, float], step: int) -> list[_Value]:
        now_ms = time.time_ns() // 1_000_000
        values = [(name, value, now_ms, step) for name, value in metrics.items()]
        self._spool.add({"kind": "metrics", "metrics": values})
        return values

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

    def describe(self, lines: list[str]) -> None:
        """Says in the run list and on the run's page what has come of it."""
        self.set_tag(MLFLOW_RUN_NOTE, "\n\n".join(lines))

    def log_datasets(self, files: dict[str, dict[str, Any]]) -> None:
        """Says which questions went in.

        Args:
            files: path, size_bytes and sha256 of each split's.
        """
        datasets = [
            {
                "split": split,
                "dataset": {
                    "name": Path(file["path"]).name,
                    "digest": digest_of(file),
                    "source_type": "local",
                    "source": json.dumps({"uri": file["path"]}),
                    "profile": json.dumps({key: file[key] for key in ("sha256", "size_bytes")}),
                },
            }
            for split, file in files.items()
        ]
        self._spool.add({"kind": "datasets", "datasets": datasets})

    def watch_machine(self) -> None:
        """Records the load of processors, memory, disk, network and GPUs until the run ends."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self.run_id)  # type: ignore[no-untyped-call]
        self._watcher = threading.Thread(
            target=self._watch_machine, args=(monitor,), name="machine", daemon=True
        )
        self._watcher.start()

    def _watch_machine(self, monitor: Any) -> None:
        # MLflow's own loop asks the server again and again, and ends when that is away.
        for step in itertools.count():
            monitor.collect_metrics()
            if self._ended.wait(_SECONDS_BETWEEN_LOADS):
                return
            loads = {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
            self.log_metrics(loads, step=step)
            for one in monitor.monitors:
                one.clear_metrics()

    def log_model(
        self, reader: Path, registration: Registration, example: dict[str, str] | None
    ) -> None:
        """Keeps a copy of a trained reader as a model that MLflow serves, and registers it.

        A model that cannot be packed is told of and costs no more than itself.

        Args:
            reader: The reader's folder.
            registration: Name in MLflow's registry, and what is said there.
            example: A question and its passage.
        """
        from roberta_squad_pipeline.tracking.models import MODEL, pack_model

        folder = self._spool.keep_file(MODEL)
        try:
            pack_model(reader, folder, example)
        except (MlflowException, OSError) as error:
            said = first_line(error)
            _logger.warning("the reader in %s is not a model in MLflow: %s", reader, said)
            return
        path = folder.relative_to(self._spool.folder)
        self._spool.add(
            {
                "kind": "model",
                "path": str(path),
                "registration": registration.model_dump(),
                "scores": self._scores,
            }
        )

    def end(self, status: Status) -> None:
        """Closes the run; says so if the store could not be told all of it."""
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()
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
        InputError: See `refusal`, or the experiment was deleted.
    """
    all_tags = {
        **tags,
        MLFLOW_USER: provenance.user,
        MLFLOW_SOURCE_NAME: provenance.command,
        MLFLOW_GIT_COMMIT: provenance.git_commit,
        "git.tree": provenance.git_tree,
    }
    uri = tracking_uri(project)
    with connected(project) as client:
        found = _experiment(client, experiment, project, uri)
        for key, value in _EXPERIMENT_TAGS.items():
            if found.tags.get(key) != value:
                client.set_experiment_tag(found.experiment_id, key, value)
        run = client.create_run(found.experiment_id, run_name=name)
        tagged = [RunTag(key, value) for key, value in all_tags.items()]
        client.log_batch(run.info.run_id, tags=tagged)
    page = run_page(uri, found.experiment_id, run.info.run_id)
    return MlflowRun(uri, run.info.run_id, unsent, page)


def reopen_run(
    *, project: Path, experiment: str, tags: dict[str, str], unsent: Path, run_id: str | None = None
) -> MlflowRun | None:
    """Opens a run once more.

    Args:
        project: The project's folder.
        experiment: MLflow's experiment.
        tags: What the run carries.
        unsent: Folder for what could not be sent yet.
        run_id: Which run; the newest that carries the tags if it is not given.

    Returns:
        None if there is no such run.
    """
    with connected(project) as client:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return None
        wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        wanted += [f"attributes.run_id = '{run_id}'"] if run_id else []
        runs = client.search_runs([found.experiment_id], " and ".join(wanted), max_results=1)
        if not runs:
            return None
        run_id = runs[0].info.run_id
        client.update_run(run_id, status="RUNNING")
    uri = tracking_uri(project)
    return MlflowRun(uri, run_id, unsent, run_page(uri, found.experiment_id, run_id))


def _experiment(client: MlflowClient, name: str, project: Path, uri: str) -> Experiment:
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise InputError(
            where=f"MLflow experiment {name!r} in {uri}",
            got="one that was deleted",
            expected="one that takes runs",
            remedy=f"Bring it back (mlflow experiments restore -x {found.experiment_id}), or give "
            "another: --params tracking.experiment=NAME",
        )
    if found is not None:
        return found
    # A server knows where its artifacts go; a database file leaves it to whoever makes the
    # experiment, and must not depend on the folder that a command was started in.
    local = uri.startswith("sqlite:")
    location = (project / "mlruns").as_uri() if local else None
    try:
        client.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        # Another run may have made it since it was looked for.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _experiment(client, name, project, uri)
