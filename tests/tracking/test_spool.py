"""What MLflow could not be told yet.

Oracle: a client that writes down what it is told, and fails when it should.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking import spool as module
from roberta_squad_pipeline.tracking.spool import Spool, send_unsent


class Client:
    """Stands in for MLflow's."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, int]] = []
        self.calls: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.answers: Callable[[str], None] = lambda _: None

    def log_batch(
        self, run_id: str, *, metrics: Any = (), params: Any = (), tags: Any = ()
    ) -> None:
        self._call("log_batch")
        self.metrics += [(metric.key, metric.value, metric.step) for metric in metrics]

    def log_artifact(self, run_id: str, path: str, folder: str | None = None) -> None:
        self._call(f"file {Path(path).name} {Path(path).read_text()}")

    def set_terminated(self, run_id: str, status: str, end_time: int | None = None) -> None:
        self._call(f"end {status}")

    def _call(self, name: str) -> None:
        self.threads.add(threading.current_thread())
        self.answers(name)
        self.calls.append(name)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    known = Client()
    monkeypatch.setattr(module, "MlflowClient", lambda tracking_uri: known)
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_SENDS", 0.02)
    monkeypatch.setattr(module, "_SECONDS_FOR_THE_LAST_WORD", 0.3)
    return known


def metric(step: int) -> list[tuple[str, float, int, int]]:
    return [("loss", step / 2, 0, step)]


def lost(_: str) -> None:
    raise MlflowException("connection refused", INTERNAL_ERROR)


def test_everything_is_sent_in_order_by_another_thread(client: Client, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "run", "sqlite://")
    for step in range(2500):
        spool.add("metrics", metrics=metric(step))
    path = spool.keep_file("a.json")
    path.write_text("{}")
    spool.add("file", path=str(path.relative_to(spool.folder)))
    spool.add("metrics", metrics=metric(2500))
    spool.add("end", status="FINISHED", end_time_ms=1)
    spool.close()
    assert [step for _, _, step in client.metrics] == list(range(2501))
    assert client.calls[-3:] == ["file a.json {}", "log_batch", "end FINISHED"]
    assert threading.current_thread() not in client.threads
    assert not (tmp_path / "run").exists()


def test_lost_server_is_told_all_of_it_when_it_is_back(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def away_for_five_tries(name: str) -> None:
        tries.append(name)
        if 2 <= len(tries) < 7:
            lost(name)

    client.answers = away_for_five_tries
    spool = Spool(tmp_path / "run", "sqlite://")
    spool.add("metrics", metrics=metric(1))
    while not client.metrics:
        pass
    for step in (2, 3):
        spool.add("metrics", metrics=metric(step))
    while len(tries) < 7:
        pass
    spool.add("end", status="FINISHED", end_time_ms=1)
    spool.close()
    assert [step for _, _, step in client.metrics] == [1, 2, 3]
    assert client.calls[-1] == "end FINISHED"
    assert caplog.text.count("does not answer") == 1


def test_server_that_never_comes_back_costs_nothing_and_is_told_later(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.answers = lost
    spool = Spool(tmp_path / "run", "http://me:secret@host:5000")
    for step in range(5):
        spool.add("metrics", metrics=metric(step))
    spool.add("end", status="FINISHED", end_time_ms=1)
    spool.close()
    assert "is missing 6 operations" in caplog.text
    assert "kedro send-tracking" in caplog.text
    kept = "".join(path.read_text() for path in (tmp_path / "run").iterdir() if path.is_file())
    assert "secret" not in kept + caplog.text
    # Half a line of a process that was killed while it wrote.
    with (tmp_path / "run/operations.jsonl").open("a") as stream:
        stream.write('{"kind": "met')
    client.answers = lambda _: None
    assert list(send_unsent(tmp_path, "http://me:secret@host:5000")) == [("run", 6)]
    assert [step for _, _, step in client.metrics] == list(range(5))
    assert client.calls[-1] == "end FINISHED"
    assert list(tmp_path.iterdir()) == []


def test_what_mlflow_never_takes_holds_up_nothing(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_files(name: str) -> None:
        if name.startswith("file"):
            raise MlflowException("no such run", RESOURCE_DOES_NOT_EXIST)

    client.answers = refuse_files
    spool = Spool(tmp_path / "run", "sqlite://")
    path = spool.keep_file("a.json")
    path.write_text("{}")
    spool.add("file", path=str(path.relative_to(spool.folder)))
    spool.add("end", status="FINISHED", end_time_ms=1)
    spool.close()
    assert client.calls == ["end FINISHED"]
    assert "MLflow does not take file: no such run" in caplog.text


def test_bug_in_the_thread_is_told_and_loses_nothing(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError

    client.answers = broken
    spool = Spool(tmp_path / "run", "sqlite://")
    spool.add("metrics", metrics=metric(1))
    spool.close()
    assert "sending to MLflow stopped" in caplog.text
    client.answers = lambda _: None
    assert list(send_unsent(tmp_path, "sqlite://")) == [("run", 1)]


def test_spools_that_cannot_be_sent(client: Client, tmp_path: Path) -> None:
    client.answers = lost
    spool = Spool(tmp_path / "run", "sqlite://")
    spool.add("metrics", metrics=metric(1))
    with pytest.raises(InputError, match="the spool of a run that is still going on"):
        list(send_unsent(tmp_path, "sqlite://"))
    spool.close()
    with pytest.raises(InputError, match="no answer"):
        list(send_unsent(tmp_path, "sqlite://"))
    (tmp_path / "run/operations.jsonl").write_text("{\n" + json.dumps(metric(1)) + "\n")
    with pytest.raises(InputError, match="not JSON"):
        list(send_unsent(tmp_path, "sqlite://"))
