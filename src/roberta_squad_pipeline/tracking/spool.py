"""What a run records, kept on disk until the tracking server has it.

A run's spool is a folder: operations.jsonl with one operation per line, files/ with what is to be
uploaded, `sent` with the number of operations that arrived, and spool.json with the address.
Operations are sent in order, each at least once: MLflow ignores metrics that it already has, and
accepts the same params, tags and files twice.
"""

import contextlib
import fcntl
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
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
"""MLflow's codes for requests that it will never accept."""

_logger = logging.getLogger(__name__)


class SpoolHeader(StrictModel):
    """Where a spool is to be sent to."""

    tracking_uri: str
    """Without user, password and query."""
    run_id: str


class Spool:
    """Takes operations without delay and sends them from a separate thread.

    Args:
        folder: For this run alone; created here, and removed when everything is sent.
        tracking_uri: The address of the store that the run is in.
        run_id: MLflow's id of the run.
    """

    def __init__(self, folder: Path, tracking_uri: str, run_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._uri = without_credentials(tracking_uri)
        header = SpoolHeader(tracking_uri=self._uri, run_id=run_id)
        (folder / _HEADER).write_text(header.model_dump_json())
        self._file = (folder / _OPERATIONS).open("a", encoding="utf-8")
        # Shows others that this process is alive: the kernel drops the lock when it ends.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._sender = _Sender(MlflowClient(tracking_uri=tracking_uri), run_id, folder)
        # An earlier session of this run may have left something.
        left = _read(folder)
        self._added = len(left)
        self._pending = left[self._sender.sent :]
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._lost_since: float | None = None
        self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
        self._thread.start()

    def add(self, kind: str, **content: Any) -> None:
        """Keeps an operation on disk and hands it to the sender; never waits for the server."""
        operation = {"kind": kind, **content}
        with self._lock:
            self._file.write(json.dumps(operation) + "\n")
            self._file.flush()
            self._pending.append(operation)
            self._added += 1

    def keep_file(self, name: str) -> Path:
        """A path for a file or folder that is to be uploaded under this name."""
        path = self.folder / _FILES / str(self._added) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Waits until everything is sent, but at most ten seconds for a server that is silent."""
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
            "MLflow at %s is missing %d of %d operations of this run. They are kept in %s; send "
            "them when it answers again: kedro send-tracking",
            self._uri,
            self._added - self._sender.sent,
            self._added,
            self.folder,
        )

    def _send_all(self) -> None:
        try:
            while not self._given_up.is_set():
                # Waited for before looking: nothing is added once closing has begun.
                last = self._closing.wait(_SECONDS_BETWEEN_SENDS)
                with self._lock:
                    waiting, self._pending = self._pending, []
                for operation, count in _grouped(waiting):
                    self._send(operation, count)
                if last and not self._pending:
                    return
        except Exception:
            _logger.exception("%s: sending to MLflow stopped; the rest stays there", self.folder)

    def _send(self, operation: Operation, count: int) -> None:
        pause = _SECONDS_BETWEEN_SENDS
        while not self._given_up.is_set():
            try:
                self._sender.send(operation, count)
            except ServerLostError as error:
                if self._lost_since is None:
                    _logger.warning(
                        "MLflow at %s does not answer (%s). The run goes on; what it records is "
                        "kept in %s.",
                        self._uri,
                        error,
                        self.folder,
                    )
                    self._lost_since = time.monotonic()
                self._given_up.wait(min(pause, 1.0) if self._closing.is_set() else pause)
                pause = min(2 * pause, _SECONDS_FOR_THE_LAST_WORD)
            else:
                if self._lost_since is not None:
                    _logger.info("MLflow answers again; it is sent what it missed")
                    self._lost_since = None
                return


class ServerLostError(ConnectionError):
    """The tracking server does not answer for now.

    Args:
        said: The error that came instead of an answer.
    """

    def __init__(self, said: Exception) -> None:
        super().__init__(first_line(said)[:80])
        self.said = said


class _Sender:
    """Sends the operations of one run, and records how many arrived."""

    def __init__(self, client: MlflowClient, run_id: str, folder: Path) -> None:
        self._client = client
        self._run_id = run_id
        self._folder = folder
        record = folder / _SENT
        self.sent = int(record.read_text()) if record.exists() else 0
        self._send_kind: dict[str, Callable[..., None]] = {
            "metrics": self._send_metrics,
            "params": self._send_params,
            "tags": self._send_tags,
            "datasets": self._send_datasets,
            "file": self._send_file,
            "model": self._send_model,
            "supersede": self._send_supersede,
            "end": self._send_end,
        }

    def send(self, operation: Operation, count: int) -> None:
        """Sends an operation; one that MLflow will never take is left out.

        Args:
            operation: The operation, or several merged into one.
            count: How many operations of the file it stands for.

        Raises:
            ServerLostError: The server did not answer; the operation does not count as sent.
        """
        kind, content = operation["kind"], {k: v for k, v in operation.items() if k != "kind"}
        try:
            self._send_kind[kind](**content)
        except MlflowException as error:
            if error.error_code not in _NEVER_TAKEN:
                raise ServerLostError(error) from error
            _logger.warning("MLflow does not take %s: %s", kind, first_line(error))
        except OSError as error:  # requests' errors among them
            raise ServerLostError(error) from error
        self.sent += count
        (self._folder / _SENT).write_text(str(self.sent))

    def _send_metrics(self, metrics: Sequence[Sequence[Any]]) -> None:
        for first in range(0, len(metrics), _METRICS_AT_ONCE):
            batch = [Metric(*values) for values in metrics[first : first + _METRICS_AT_ONCE]]
            self._client.log_batch(self._run_id, metrics=batch)

    def _send_params(self, params: Sequence[tuple[str, str]]) -> None:
        for first in range(0, len(params), _PARAMS_AT_ONCE):
            batch = [Param(*pair) for pair in params[first : first + _PARAMS_AT_ONCE]]
            self._client.log_batch(self._run_id, params=batch)

    def _send_tags(self, tags: dict[str, str]) -> None:
        self._client.log_batch(self._run_id, tags=[RunTag(*pair) for pair in tags.items()])

    def _send_datasets(self, datasets: list[dict[str, Any]]) -> None:
        inputs = []
        for one in datasets:
            tags = [InputTag(MLFLOW_DATASET_CONTEXT, one["split"])]
            inputs.append(DatasetInput(Dataset(**one["dataset"]), tags))
        self._client.log_inputs(self._run_id, inputs)

    def _send_file(self, path: str) -> None:
        if (self._folder / path).exists():
            # After files/ and the operation's number, folders are those of the run.
            folder = "/".join(Path(path).parts[2:-1])
            self._client.log_artifact(self._run_id, str(self._folder / path), folder or None)

    def _send_model(self, path: str, registration: dict[str, Any], scores: list[Any]) -> None:
        if (self._folder / path).exists():
            registered = Registration.model_validate(registration)
            log_model(self._client, self._run_id, self._folder / path, registered, scores)

    def _send_supersede(self, run_id: str) -> None:
        if self._client.get_run(run_id).info.status == "RUNNING":
            self._client.set_terminated(run_id, "KILLED")
        self._client.set_tag(run_id, "resumed_by", self._run_id)
        self._client.set_tag(self._run_id, "resumes", run_id)

    def _send_end(self, status: Status, end_time_ms: int) -> None:
        self._client.set_terminated(self._run_id, status, end_time=end_time_ms)


def _grouped(operations: list[Operation]) -> Iterator[tuple[Operation, int]]:
    """Operations, each with how many it stands for: metrics that follow each other go together."""
    for kind, following in groupby(operations, key=lambda operation: operation["kind"]):
        if kind == "metrics":
            values = [operation["metrics"] for operation in following]
            yield {"kind": kind, "metrics": list(chain.from_iterable(values))}, len(values)
        else:
            yield from ((operation, 1) for operation in following)


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
    for header_path in sorted(unsent.glob(f"*/{_HEADER}"), key=lambda path: path.stat().st_mtime):
        folder = header_path.parent
        header = SpoolHeader.model_validate_json(header_path.read_bytes())
        known = without_credentials(tracking_uri) == header.tracking_uri
        uri = tracking_uri if known else header.tracking_uri
        with _held(folder):
            sender = _Sender(MlflowClient(tracking_uri=uri), header.run_id, folder)
            left = _read(folder)[sender.sent :]
            try:
                for operation, count in _grouped(left):
                    sender.send(operation, count)
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
                got="the spool of a run that is still going on",
                expected="that of a run that has ended",
                remedy="Wait until it ends; it sends what it can by itself.",
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
            remedy="Remove the folder, if you can do without its content.",
        ) from error
