"""What a run records, kept on disk until the tracking server has it.

A run's spool is a folder of the run's id: operations.jsonl with one operation per line, files/ with
what is to be uploaded, `sent` with the number of bytes of operations.jsonl that arrived, and
`store` with the server's address. Operations are sent in order, each at least once: MLflow ignores
metrics that it already has, and accepts the same params, tags and files twice.
"""

import fcntl
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import without_credentials
from roberta_squad_pipeline.tracking.models import Registration, log_model, score_model
from roberta_squad_pipeline.tracking.store import first_line, refusal

Operation = dict[str, Any]
Status = Literal["FINISHED", "FAILED", "KILLED"]

_OPERATIONS = "operations.jsonl"
_FILES = "files"
_SENT = "sent"
_STORE = "store"
_SECONDS_BETWEEN_SENDS = 2.0
_SECONDS_FOR_THE_LAST_WORD = 10.0
_NEVER_TAKEN = {
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "MALFORMED_REQUEST",
    "BAD_REQUEST",
}
"""MLflow's codes for requests that it will never accept."""

_LOST = (MlflowException, OSError)  # requests' errors are OSErrors
"""Errors of a server that does not answer for now."""

_logger = logging.getLogger(__name__)


class Spool:
    """Takes operations without delay and sends them from a separate thread.

    Args:
        folder: Named by MLflow's id of the run; created here, and removed when everything is sent.
        tracking_uri: The address of the store that the run is in.
    """

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._uri = without_credentials(tracking_uri)
        (folder / _STORE).write_text(self._uri)
        # Without a buffer each line is one write at the file's end, whichever thread adds it.
        self._file = (folder / _OPERATIONS).open("ab", buffering=0)
        # Shows others that this process is alive: the kernel drops the lock when it ends.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._client = MlflowClient(tracking_uri=tracking_uri)
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
        self._thread.start()

    def add(self, kind: str, **content: Any) -> None:
        """Keeps an operation on disk for the sender; never waits for the server."""
        self._file.write(json.dumps({"kind": kind, **content}).encode() + b"\n")

    def keep_file(self, name: str) -> Path:
        """A path for a file or folder that is to be uploaded under this name."""
        (self.folder / _FILES).mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.folder / _FILES)) / name

    def close(self) -> None:
        """Waits until everything is sent, but at most ten seconds for a server that is silent."""
        self._closing.set()
        began = time.monotonic()
        while self._thread.is_alive() and not self._given_up.is_set():
            self._thread.join(0.1)
            if self._lost and time.monotonic() - began > _SECONDS_FOR_THE_LAST_WORD:
                self._given_up.set()
        self._file.close()
        if not (missing := len(_unsent(self.folder))):
            shutil.rmtree(self.folder)
            return
        _logger.warning(
            "MLflow at %s is missing %d operations of this run. They are kept in %s; send them "
            "when it answers again: kedro send-tracking",
            self._uri,
            missing,
            self.folder,
        )

    def _send(self) -> None:
        pause = _SECONDS_BETWEEN_SENDS
        try:
            while not self._given_up.is_set():
                # Waited for before looking: nothing is added once closing has begun.
                last = self._closing.wait(pause)
                try:
                    _send_all(self._client, self.folder)
                except _LOST as error:
                    if not self._lost:
                        _logger.warning(
                            "MLflow at %s does not answer (%s). The run goes on; what it records "
                            "is kept in %s.",
                            self._uri,
                            first_line(error)[:80],
                            self.folder,
                        )
                    self._lost = True
                    pause = min(2 * pause, _SECONDS_FOR_THE_LAST_WORD)
                    if last:
                        self._given_up.wait(min(pause, 1.0))
                    continue
                if self._lost:
                    _logger.info("MLflow answers again and has been sent what it missed")
                self._lost, pause = False, _SECONDS_BETWEEN_SENDS
                if last:
                    return
        except Exception:
            _logger.exception("%s: sending to MLflow stopped; the rest stays there", self.folder)


def send_unsent(unsent: Path, tracking_uri: str) -> Iterator[tuple[str, int]]:
    """Sends what earlier runs could not.

    Args:
        unsent: The folder of all spools.
        tracking_uri: The present one, which may have the user and password that no spool keeps.

    Yields:
        Each run's id, and how many operations were sent.

    Raises:
        InputError: A server does not answer, or a spool is in use or damaged.
    """
    for store in sorted(unsent.glob(f"*/{_STORE}"), key=lambda path: path.stat().st_mtime):
        folder, kept = store.parent, store.read_text()
        uri = tracking_uri if without_credentials(tracking_uri) == kept else kept
        with (folder / _OPERATIONS).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    where=str(folder),
                    got="the spool of a run that is still going on",
                    expected="that of a run that has ended",
                    remedy="Wait until it ends; it sends what it can by itself.",
                ) from error
            missing = len(_unsent(folder))
            try:
                _send_all(MlflowClient(tracking_uri=uri), folder)
            except _LOST as error:
                raise refusal(error, kept) from error
            shutil.rmtree(folder)
        yield folder.name, missing


def _sent(folder: Path) -> int:
    record = folder / _SENT
    return int(record.read_text()) if record.exists() else 0


def _unsent(folder: Path) -> list[tuple[Operation, int]]:
    """Operations that did not arrive yet, each with the number of its bytes."""
    with (folder / _OPERATIONS).open("rb") as file:
        file.seek(_sent(folder))
        lines = file.read().splitlines(keepends=True)
    try:
        # A process that was killed may have left half a line.
        return [(json.loads(line), len(line)) for line in lines if line.endswith(b"\n")]
    except json.JSONDecodeError as error:
        raise InputError(
            where=str(folder / _OPERATIONS),
            got=f"a line that is not JSON ({error})",
            expected="one operation per line",
            remedy="Remove the folder, if you can do without its content.",
        ) from error


def _send_all(client: MlflowClient, folder: Path) -> None:
    """Sends what did not arrive yet; an operation that MLflow will never take is left out.

    Raises:
        MlflowException: The server did not answer.
        OSError: Like this.
    """
    sent = _sent(folder)
    for kind, following in groupby(_unsent(folder), key=lambda one: str(one[0]["kind"])):
        operations = list(following)
        if kind == "metrics":  # those that follow each other go together
            values = list(chain.from_iterable(one["metrics"] for one, _ in operations))
            size = sum(size for _, size in operations)
            operations = [({"kind": kind, "metrics": values}, size)]
        for operation, size in operations:
            try:
                _send_one(client, folder, operation)
            except MlflowException as error:
                if error.error_code not in _NEVER_TAKEN:
                    raise
                _logger.warning("MLflow does not take %s: %s", kind, first_line(error))
            sent += size
            (folder / _SENT).write_text(str(sent))


def _send_one(client: MlflowClient, folder: Path, operation: Operation) -> None:
    run_id = folder.name
    match operation:
        case {"kind": "metrics", "metrics": metrics}:
            client.log_batch(run_id, metrics=[Metric(*values) for values in metrics])
        case {"kind": "params", "params": params}:
            client.log_batch(run_id, params=[Param(*pair) for pair in params])
        case {"kind": "tags", "tags": tags}:
            client.log_batch(run_id, tags=[RunTag(*pair) for pair in tags.items()])
        case {"kind": "datasets", "datasets": datasets}:
            inputs = [
                DatasetInput(
                    Dataset(**one["dataset"]), [InputTag(MLFLOW_DATASET_CONTEXT, one["split"])]
                )
                for one in datasets
            ]
            client.log_inputs(run_id, inputs)
        case {"kind": "file", "path": path} if (folder / path).exists():
            client.log_artifact(run_id, str(folder / path))
        case {"kind": "model", "path": path, **rest} if (folder / path).exists():
            registration = Registration.model_validate(rest["registration"])
            log_model(client, run_id, folder / path, registration, rest["scores"])
        case {"kind": "model_scores", "model_id": model_id, "dataset": dataset, "scores": scores}:
            score_model(client, run_id, model_id, tuple(dataset), scores)
        case {"kind": "supersede", "run_id": previous}:
            _supersede(client, run_id, previous)
        case {"kind": "end", "status": status, "end_time_ms": end_time_ms}:
            client.set_terminated(run_id, status, end_time=end_time_ms)


def _supersede(client: MlflowClient, run_id: str, previous: str) -> None:
    if client.get_run(previous).info.status == "RUNNING":
        client.set_terminated(previous, "KILLED")
    client.set_tag(previous, "resumed_by", run_id)
    client.set_tag(run_id, "resumes", previous)
