"""What a run has to say, kept on disk until the tracking server has heard it.

A run's spool is a folder: operations.jsonl with one operation per line, files/ with what is still
to be uploaded, sent with the number of operations that arrived, and spool.json which says where to.
Operations are sent in order, each at least once: MLflow ignores metrics that it has already, and
takes the same params, tags and files twice.
"""

import contextlib
import fcntl
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import without_credentials
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.tracking.models import Registration, log_model
from roberta_squad_pipeline.tracking.store import first_line, refusal

Operation = dict[str, Any]
Status = Literal["FINISHED", "FAILED", "KILLED"]

_OPERATIONS = "operations.jsonl"
_FILES = "files"
_SENT = "sent"
_HEADER = "spool.json"
_SECONDS_BETWEEN_SENDS = 2.0
_SECONDS_FOR_THE_LAST_WORD = 10.0
_METRICS_AT_ONCE = 1000  # MLflow takes no more in one call
_PARAMS_AT_ONCE = 100
_NEVER_TAKEN = {
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "MALFORMED_REQUEST",
    "BAD_REQUEST",
}
"""What MLflow says of requests that it will never take."""

_logger = logging.getLogger(__name__)


class SpoolHeader(StrictModel):
    """Where a spool is to be sent."""

    tracking_uri: str
    """Without user, password and query."""
    run_id: str


class Spool:
    """Takes operations at once and sends them from a thread of its own.

    Args:
        folder: For this run alone; made, and removed when all is sent.
        tracking_uri: Of the store that the run is in.
        run_id: The run.
    """

    def __init__(self, folder: Path, tracking_uri: str, run_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._uri = without_credentials(tracking_uri)
        header = SpoolHeader(tracking_uri=self._uri, run_id=run_id)
        (folder / _HEADER).write_text(header.model_dump_json())
        self._file = (folder / _OPERATIONS).open("a", encoding="utf-8")
        # Tells others that this process lives; the lock goes with it, however it ends.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._sender = _Sender(MlflowClient(tracking_uri=tracking_uri), run_id, folder)
        # A run that is opened once more may have left something.
        left = _read(folder)
        self._added = len(left)
        self._pending = left[self._sender.sent :]
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._lost_since: float | None = None
        self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
        self._thread.start()

    def add(self, operation: Operation) -> None:
        """Keeps an operation on disk and for the sender; never waits for the server."""
        with self._lock:
            self._file.write(json.dumps(operation) + "\n")
            self._file.flush()
            self._pending.append(operation)
            self._added += 1

    def keep_file(self, name: str) -> Path:
        """A path below which a file that is to be uploaded under this name can be put."""
        path = self.folder / _FILES / str(self._added) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Waits until all is sent; for a server that does not answer, ten seconds at most."""
        self._closing.set()
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            waited = time.monotonic() - began
            if self._lost_since is not None and waited > _SECONDS_FOR_THE_LAST_WORD:
                self._given_up.set()
                break
        self._file.close()
        if self._sender.sent == self._added:
            shutil.rmtree(self.folder)
            return
        _logger.warning(
            "MLflow at %s does not know %d of %d operations of this run. They are kept in %s; "
            "send them when it answers again: kedro send-tracking",
            self._uri,
            self._added - self._sender.sent,
            self._added,
            self.folder,
        )

    def _send_all(self) -> None:
        try:
            while not self._given_up.is_set():
                # Asked before looking: what is added after the wish to close was seen is nothing.
                last = self._closing.wait(_SECONDS_BETWEEN_SENDS)
                with self._lock:
                    waiting, self._pending = self._pending, []
                for operations in _grouped(waiting):
                    self._send(operations)
                if last and not self._pending:
                    return
        except Exception:
            _logger.exception("%s: sending to MLflow ended; what is left stays there", self.folder)

    def _send(self, operations: list[Operation]) -> None:
        pause = _SECONDS_BETWEEN_SENDS
        while not self._given_up.is_set():
            try:
                self._sender.send(operations)
            except ServerLostError as error:
                if self._lost_since is None:
                    _logger.warning(
                        "MLflow at %s does not answer (%s). The run goes on; what MLflow should "
                        "know is kept in %s.",
                        self._uri,
                        error,
                        self.folder,
                    )
                    self._lost_since = time.monotonic()
                self._given_up.wait(min(pause, 1.0) if self._closing.is_set() else pause)
                pause = min(2 * pause, _SECONDS_FOR_THE_LAST_WORD)
            else:
                if self._lost_since is not None:
                    _logger.info("MLflow answers again; it is told what it has missed")
                    self._lost_since = None
                return


class ServerLostError(ConnectionError):
    """The tracking server does not answer; it may later.

    Args:
        said: What came instead of an answer.
    """

    def __init__(self, said: Exception) -> None:
        super().__init__(first_line(said)[:80])
        self.said = said


class _Sender:
    """Sends operations of one run, and remembers how many arrived."""

    def __init__(self, client: MlflowClient, run_id: str, folder: Path) -> None:
        self._client = client
        self._run_id = run_id
        self._folder = folder
        record = folder / _SENT
        self.sent = int(record.read_text()) if record.exists() else 0
        self._send_kind = {
            "metrics": self._send_metrics,
            "params": self._send_params,
            "tags": self._send_tags,
            "datasets": self._send_datasets,
            "file": self._send_file,
            "model": self._send_model,
            "supersede": self._send_supersede,
            "end": self._send_end,
        }

    def send(self, operations: list[Operation]) -> None:
        """Sends operations of one kind; those that MLflow will never take are left out.

        Raises:
            ServerLostError: None of them may count as sent.
        """
        try:
            self._send_kind[operations[0]["kind"]](operations)
        except MlflowException as error:
            if error.error_code not in _NEVER_TAKEN:
                raise ServerLostError(error) from error
            kind = operations[0]["kind"]
            _logger.warning("MLflow does not take %s: %s", kind, first_line(error))
        except OSError as error:  # requests' errors among them
            raise ServerLostError(error) from error
        self.sent += len(operations)
        (self._folder / _SENT).write_text(str(self.sent))

    def _send_metrics(self, operations: list[Operation]) -> None:
        metrics = [Metric(*values) for operation in operations for values in operation["metrics"]]
        for first in range(0, len(metrics), _METRICS_AT_ONCE):
            batch = metrics[first : first + _METRICS_AT_ONCE]
            self._client.log_batch(self._run_id, metrics=batch)

    def _send_params(self, operations: list[Operation]) -> None:
        params = [Param(*pair) for operation in operations for pair in operation["params"]]
        for first in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run_id, params=params[first : first + _PARAMS_AT_ONCE])

    def _send_tags(self, operations: list[Operation]) -> None:
        for operation in operations:
            tags = [RunTag(key, value) for key, value in operation["tags"].items()]
            self._client.log_batch(operation.get("run_id", self._run_id), tags=tags)

    def _send_datasets(self, operations: list[Operation]) -> None:
        for operation in operations:
            inputs = []
            for one in operation["datasets"]:
                tags = [InputTag(MLFLOW_DATASET_CONTEXT, one["split"])]
                inputs.append(DatasetInput(Dataset(**one["dataset"]), tags))
            self._client.log_inputs(self._run_id, inputs)

    def _send_file(self, operations: list[Operation]) -> None:
        for operation in operations:
            path = self._folder / operation["path"]
            if path.exists():
                # After files/ and the operation's number, folders are those of the run.
                folder = "/".join(path.relative_to(self._folder).parts[2:-1])
                self._client.log_artifact(self._run_id, str(path), folder or None)

    def _send_model(self, operations: list[Operation]) -> None:
        for operation in operations:
            folder = self._folder / operation["path"]
            if folder.exists():
                registration = Registration.model_validate(operation["registration"])
                log_model(self._client, self._run_id, folder, registration, operation["scores"])

    def _send_supersede(self, operations: list[Operation]) -> None:
        for operation in operations:
            previous = operation["run_id"]
            if self._client.get_run(previous).info.status == "RUNNING":
                self._client.set_terminated(previous, "KILLED")
            self._client.set_tag(previous, "resumed_by", self._run_id)
            self._client.set_tag(self._run_id, "resumes", previous)

    def _send_end(self, operations: list[Operation]) -> None:
        for operation in operations:
            self._client.set_terminated(
                self._run_id, operation["status"], end_time=operation["end_time_ms"]
            )


def _grouped(operations: list[Operation]) -> Iterator[list[Operation]]:
    """Metrics that follow each other go together; everything else goes alone."""
    group: list[Operation] = []
    for operation in operations:
        if group and not (operation["kind"] == group[0]["kind"] == "metrics"):
            yield group
            group = []
        group.append(operation)
    if group:
        yield group


def send_unsent(unsent: Path, tracking_uri: str) -> Iterator[tuple[str, int]]:
    """Sends what earlier runs could not.

    Args:
        unsent: Where spools are.
        tracking_uri: Today's, for a user and password that are kept in no spool.

    Yields:
        Id of each run, and how many operations were sent.

    Raises:
        InputError: A server does not answer, or a spool is in use or damaged.
    """
    for header_path in sorted(unsent.glob(f"*/{_HEADER}"), key=lambda path: path.stat().st_mtime):
        folder = header_path.parent
        header = SpoolHeader.model_validate_json(header_path.read_bytes())
        known = without_credentials(tracking_uri) == header.tracking_uri
        uri = tracking_uri if known else header.tracking_uri
        with _held(folder):
            sender = _Sender(MlflowClient(tracking_uri=uri), header.run_id, folder)
            left = _read(folder)[sender.sent :]
            try:
                for operations in _grouped(left):
                    sender.send(operations)
            except ServerLostError as error:
                raise refusal(error.said, header.tracking_uri) from error
            shutil.rmtree(folder)
        yield header.run_id, len(left)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    with (folder / _OPERATIONS).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                where=str(folder),
                got="a run that is still going on",
                expected="what an ended one left",
                remedy="Wait until it has ended; it sends by itself what it can.",
            ) from error
        yield


def _read(folder: Path) -> list[Operation]:
    text = (folder / _OPERATIONS).read_text(encoding="utf-8")
    # A process that was killed may have left half a line.
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise InputError(
            where=str(folder / _OPERATIONS),
            got=f"a line that is not JSON ({error})",
            expected="one operation per line",
            remedy="Remove the folder to do without what is in it.",
        ) from error
