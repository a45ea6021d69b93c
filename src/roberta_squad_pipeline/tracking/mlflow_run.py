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
from roberta_squad_pipeline.tracking.models import (
    MODEL,
    Registration,
    Score,
    Scored,
    digest_of,
    pack_model,
)
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.spool import Spool, Status
from roberta_squad_pipeline.tracking.store import (
    SERVER,
    connected,
    first_line,
    runs_page,
    search,
    tracking_uri,
)
from roberta_squad_pipeline.tracking.tracker import Journal, Tracker, flat_params

_BEST_F1 = "dev/best_f1"
_VIEW = "scores"
_BY_SCORE = f"?viewStateShareKey={_VIEW}&"
_VIEW_OF_RUNS = {
    "selectedColumns": [
        "attributes.`Created`",
        f"metrics.`{_BEST_F1}`",
        "metrics.`dev/cross_fitted_f1`",
        "attributes.`Models`",
        "params.`model.encoder`",
        "params.`training.updates`",
    ],
    "orderByKey": f"metrics.`{_BEST_F1}`",
    "orderByAsc": False,
}
"""The run list with scores, the best first, which its menu of views has as "Best F1".

A server cannot choose the columns of the plain list: they are part of MLflow's page, or kept by the
browser.
"""
_EXPERIMENT_TAGS = {
    MLFLOW_EXPERIMENT_PRIMARY_METRIC_NAME: _BEST_F1,
    f"mlflow.sharedViewState.{_VIEW}": json.dumps(
        {"name": "Best F1", "createdAt": 0, "state": json.dumps(_VIEW_OF_RUNS)}
    ),
}
_NOTE = (
    "[Runs by best F1](#{}). *Override saved view* there gives this list the same columns in your "
    "browser."
)
"""What stands above the run list."""
_SECONDS_BETWEEN_LOADS = 10.0

_logger = logging.getLogger(__name__)


class MlflowRun(Tracker):
    """An open run. What it records is kept on disk first, and a separate thread sends it.

    Args:
        uri: The address of the store that the run is in.
        run_id: MLflow's id of the run.
        experiment_id: MLflow's id of its experiment.
        unsent: Folder for what could not be sent yet.
    """

    run_id: str

    def __init__(self, uri: str, run_id: str, experiment_id: str, unsent: Path) -> None:
        self.run_id = run_id
        shown = "" if uri.startswith(SERVER) else " (mlflow ui shows it)"
        self.pages = {
            "MLflow": runs_page(uri, experiment_id, f"/{run_id}?") + shown,
            "all runs": runs_page(uri, experiment_id, _BY_SCORE),
        }
        self._scores: list[Score] = []
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None
        self._spool = Spool(unsent / run_id, uri)

    def log_params(self, params: dict[str, Any]) -> None:
        """Records parameters, nested sections as dotted names."""
        self._spool.add("params", params=list(flat_params(params).items()))

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update; they reach the store every two seconds or so."""
        self._log_values(metrics, step)

    def log_scores(self, scores: dict[str, float]) -> None:
        """Records the reader's scores with the run, and later with its model."""
        self._scores = self._log_values(scores, step=0)

    def _log_values(self, metrics: dict[str, float], step: int) -> list[Score]:
        now_ms = time.time_ns() // 1_000_000
        values = [(name, value, now_ms, step) for name, value in metrics.items()]
        self._spool.add("metrics", metrics=values)
        return values

    def set_tag(self, key: str, value: str) -> None:
        """Sets a tag by which the run can be searched for."""
        self._spool.add("tags", tags={key: value})

    def supersedes(self, previous_run_id: str) -> None:
        """Records that this run continues an earlier one, and closes that if it was killed."""
        self._spool.add("supersede", run_id=previous_run_id)

    def log_text(self, text: str, artifact: str) -> None:
        """Keeps a text as a file of the run."""
        path = self._spool.keep_file(artifact)
        path.write_text(text, encoding="utf-8")
        self._upload(path)

    def log_file(self, path: Path) -> None:
        """Keeps a copy of a file with the run."""
        self._upload(Path(shutil.copy(path, self._spool.keep_file(path.name))))

    def describe(self, lines: list[str]) -> None:
        """Sets the description that MLflow shows in the run list and on the run's page."""
        self.set_tag(MLFLOW_RUN_NOTE, "\n\n".join(lines))

    def log_datasets(self, files: dict[str, dict[str, Any]]) -> None:
        """Records which files of questions the run used.

        Args:
            files: By split, the path, size_bytes and sha256 of its file.
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
        self._spool.add("datasets", datasets=datasets)

    def watch_machine(self) -> None:
        """Records the load of CPUs, memory, disk, network and GPUs until the run ends."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self.run_id)  # type: ignore[no-untyped-call]
        self._watcher = threading.Thread(
            target=self._watch_machine, args=(monitor,), name="machine", daemon=True
        )
        self._watcher.start()

    def _watch_machine(self, monitor: Any) -> None:
        # MLflow's own loop queries the server repeatedly, and ends when that does not answer.
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

        A model that cannot be packed is logged as a warning; the run goes on without it.

        Args:
            reader: The reader's folder.
            registration: Its name in MLflow's registry, and its tags there.
            example: A question and its passage.
        """
        folder = self._spool.keep_file(MODEL)
        try:
            pack_model(reader, folder, example)
        except (MlflowException, OSError) as error:
            said = first_line(error)
            _logger.warning("the reader in %s is not a model in MLflow: %s", reader, said)
            return
        self._spool.add(
            "model",
            path=str(folder.relative_to(self._spool.folder)),
            registration=registration.model_dump(),
            scores=self._scores,
        )

    def score_model(self, model_id: str, dataset: Scored) -> None:
        """Records this run's scores with the model of another run, which it evaluated.

        Args:
            model_id: MLflow's id of the model.
            dataset: What it was scored on.
        """
        self._spool.add("model_scores", model_id=model_id, dataset=dataset, scores=self._scores)

    def end(self, status: Status) -> None:
        """Closes the run; warns if not everything could be sent to the store."""
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()
        end_time_ms = time.time_ns() // 1_000_000
        self._spool.add("end", status=status, end_time_ms=end_time_ms)
        self._spool.close()

    def _upload(self, kept: Path) -> None:
        self._spool.add("file", path=str(kept.relative_to(self._spool.folder)))


def open_run(
    journal: Journal, name: str, provenance: Provenance, tags: dict[str, str]
) -> MlflowRun:
    """Opens a run in the tracking store.

    Args:
        journal: Where it is recorded.
        name: Name of the run, as MLflow shows it.
        provenance: Code and command that produced it.
        tags: Further tags.

    Raises:
        InputError: The store refuses (see `refusal`), or the experiment was deleted.
    """
    all_tags = {
        **tags,
        MLFLOW_USER: provenance.user,
        # Of a name with a slash, such as a file's, MLflow shows what follows the last one.
        MLFLOW_SOURCE_NAME: provenance.command.partition(" -")[0],
        "command": provenance.command,
        MLFLOW_GIT_COMMIT: provenance.git_commit,
        "git.tree": provenance.git_tree,
    }
    uri = tracking_uri(journal.project)
    with connected(journal.project) as client:
        found = _experiment(client, journal, uri)
        note = _NOTE.format(runs_page(uri, found.experiment_id, _BY_SCORE).partition("#")[2])
        # A note that someone has written instead is kept.
        own = {MLFLOW_RUN_NOTE: found.tags.get(MLFLOW_RUN_NOTE, note)}
        for key, value in (_EXPERIMENT_TAGS | own).items():
            if found.tags.get(key) != value:
                _tag_experiment(client, found.experiment_id, key, value)
        run = client.create_run(found.experiment_id, run_name=name)
        tagged = [RunTag(key, value) for key, value in all_tags.items()]
        client.log_batch(run.info.run_id, tags=tagged)
    return MlflowRun(uri, run.info.run_id, found.experiment_id, journal.unsent)


def _tag_experiment(client: MlflowClient, experiment_id: str, key: str, value: str) -> None:
    try:
        client.set_experiment_tag(experiment_id, key, value)
    except MlflowException:
        # A run that began at the same moment may have been first.
        if client.get_experiment(experiment_id).tags.get(key) != value:
            raise


def reopen_run(
    journal: Journal, tags: dict[str, str], run_id: str | None = None
) -> MlflowRun | None:
    """Opens an earlier run again.

    Args:
        journal: Where it is recorded.
        tags: Tags that the run must have.
        run_id: Which run; by default the newest with these tags.

    Returns:
        None if there is no such run.
    """
    with connected(journal.project) as client:
        runs = search(client, journal.experiment, tags, **({"run_id": run_id} if run_id else {}))
        if not runs:
            return None
        info = runs[0].info
        client.update_run(info.run_id, status="RUNNING")
    uri = tracking_uri(journal.project)
    return MlflowRun(uri, info.run_id, info.experiment_id, journal.unsent)


def _experiment(client: MlflowClient, journal: Journal, uri: str) -> Experiment:
    name = journal.experiment
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise InputError(
            where=f"MLflow experiment {name!r} in {uri}",
            got="a deleted experiment",
            expected="one that takes runs",
            remedy=f"Restore it (mlflow experiments restore -x {found.experiment_id}), or name "
            "another: --params tracking.experiment=NAME",
        )
    if found is not None:
        return found
    # A server knows where its artifacts go. With a database file, whoever creates the experiment
    # decides, and the place must not depend on the folder that a command was started in.
    local = uri.startswith("sqlite:")
    location = (journal.project / "mlruns").as_uri() if local else None
    try:
        client.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        # Another run may have made it since it was looked for.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _experiment(client, journal, uri)
