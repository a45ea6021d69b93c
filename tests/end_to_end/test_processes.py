"""Many processes, and runs that are killed.

Oracle: the same run in one process, or what it told before it was killed.
"""

import json
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]
Start = Callable[..., Any]

OUTPUTS = ("predictions.json", "null_odds.json", "nbest.parquet")


def outputs(project: Path, run: str) -> list[bytes]:
    return [(project / "data/07_model_output" / run / name).read_bytes() for name in OUTPUTS]


def checkpoints(project: Path, run: str) -> list[Path]:
    return sorted((project / "data/06_models/_checkpoints" / run).glob("*/update-*"))


def test_two_processes_train_and_answer(
    finished_by_two: Path, tmp_path: Path, kedro: Kedro, runs: Runs
) -> None:
    """One process alone gives the same answers from the same reader, byte for byte."""
    shutil.copytree(finished_by_two, tmp_path, symlinks=True, dirs_exist_ok=True)
    said = " ".join((tmp_path / "said.txt").read_text(encoding="utf-8").split())
    assert (
        "8 windows per update = 2 (processes) \u00d7 4 (windows) \u00d7 1 (micro-batches)" in said
    )
    assert "Traceback" not in said
    (run,) = runs()
    assert (run.info.status, run.data.params["distributed.processes"]) == ("FINISHED", "2")
    history = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_metric_history(
        run.info.run_id, "train/loss"
    )
    assert [metric.step for metric in history] == [1, 2, 3, 4]
    assert checkpoints(tmp_path, "demo") == []
    of_two = outputs(tmp_path, "demo")
    alone = kedro("inference", {"inference.batch_windows": 4})
    assert alone.returncode == 0, alone.stderr
    assert outputs(tmp_path, "demo") == of_two


def test_two_processes_answer_a_file(
    finished_copy: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Three chunks; one process alone writes the same bytes."""
    records = [
        {"id": number, "question": "Which river is it?", "context": f"The Isk rises at {number}."}
        for number in range(2001)
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (finished_copy / "questions.jsonl").write_text(lines)
    written = []
    for processes in (2, 1):
        done = command(
            *("predict", "--run", "demo", "--input", "questions.jsonl"),
            *("--output", f"{processes}.jsonl"),
            *("--params", f"distributed.processes={processes}"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        written.append((finished_copy / f"{processes}.jsonl").read_bytes())
    assert written[0] == written[1]
    assert [json.loads(line)["id"] for line in written[0].splitlines()] == [
        str(record["id"]) for record in records
    ]


def test_killed_run_goes_on_with_curves_without_a_gap(
    project: Path, kedro: Kedro, start: Start, runs: Runs
) -> None:
    """And no more than an interval is lost.

    Oracle: what the killed run had told, and the run's own curve. It dies between two evaluations,
    or nearly so, since the best of them is kept. That the reader is the same bit by bit, and how
    one process goes on: training/test_job.py, and by the same command test_own_data.py.
    """
    params = {
        "training.updates": 24,
        "training.checkpoint_every": 5,
        "training.evaluate_every": 8,
        "training.keep": "best",
        "distributed.processes": 2,
        "model.dropout": 0.1,
        "training.precision": "fp32",
    }
    process = start(params, "train")
    deadline = time.monotonic() + 300
    while len(checkpoints(project, "demo")) < 2:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint while the run was going on"
        time.sleep(0.01)
    workers = descendants(process.pid)
    # Processes that work together talk over sockets; those of one machine over none that others
    # could reach.
    addresses = listening({process.pid, *workers})
    assert addresses == {"127.0.0.1"}
    process.kill()
    process.wait()
    died = time.monotonic()
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() - died < 300, "a worker lives longer than its launcher"
        time.sleep(0.05)
    killed = checkpoints(project, "demo")
    again = kedro("train", params)
    assert again.returncode == 0, again.stderr
    assert killed[-1].name in again.stdout + again.stderr

    of_again, of_killed = runs()
    assert (of_killed.info.status, of_again.info.status) == ("KILLED", "FINISHED")
    assert of_killed.data.tags["resumed_by"] == of_again.info.run_id
    assert of_again.data.tags["resumes"] == of_killed.info.run_id
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    curve = json.loads((project / "data/08_reporting/demo/training_curve.json").read_text())
    for name, every, values in (
        ("train/loss", 1, curve["loss"]),
        ("validation/loss", 8, curve["validation"]["loss"]),
        ("validation/best_f1", 8, curve["validation"]["best_f1"]),
    ):
        whole, part = (
            {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
            for run in (of_again, of_killed)
        )
        assert whole == dict(zip(range(every, 25, every), values, strict=True))
        assert part.items() <= whole.items()


def test_changed_settings_are_told_apart_and_resume_never_starts_anew(
    project: Path, kedro: Kedro, start: Start
) -> None:
    params = {"training.updates": 2000, "training.checkpoint_every": 1}
    process = start(params, "train")
    while not checkpoints(project, "demo"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=300)
    (left,) = {path.parent for path in checkpoints(project, "demo")}
    other = kedro("train", {"training.updates": 3})
    assert other.returncode == 0, other.stderr
    said = " ".join((other.stdout + other.stderr).split())
    assert "training.updates: 2000 there, 3 here" in said
    assert "going on from" not in said
    # Those of the finished run are gone, those of the other settings are left alone.
    assert {path.parent for path in checkpoints(project, "demo")} == {left}
    attempt = json.loads((left / "run.json").read_text())
    assert attempt["settings"]["training"]["updates"] == 2000
    anew = start(params | {"training.resume": "never"}, "train")
    deadline = time.monotonic() + 300
    while checkpoints(project, "demo")[:1] != [left / "update-000001"]:
        assert anew.poll() is None, anew.communicate()[0]
        assert time.monotonic() < deadline, "it did not start at the first update"
        time.sleep(0.001)


def listening(pids: set[int]) -> set[str]:
    """Addresses on which processes listen for connections.

    Oracle: the kernel's tables of TCP sockets, in which state 0A is LISTEN.
    """
    sockets = set()
    for descriptor in chain.from_iterable(Path(f"/proc/{pid}/fd").iterdir() for pid in pids):
        with suppress(FileNotFoundError):  # closed since it was listed
            sockets.add(str(descriptor.readlink()))
    addresses = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            if state == "0A" and f"socket:[{line.split()[9]}]" in sockets:
                words = struct.iter_unpack("=I", bytes.fromhex(local.partition(":")[0]))
                packed = b"".join(struct.pack(">I", word) for (word,) in words)
                addresses.add(socket.inet_ntop(family, packed))
    return addresses


def descendants(pid: int) -> list[int]:
    """Workers that a process has launched."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
