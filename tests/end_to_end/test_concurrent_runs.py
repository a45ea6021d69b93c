"""Several `kedro run`s at once, in one project and on one MLflow database."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.entities import Run

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]
Start = Callable[..., Any]


def content(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file; a process at work may add to logs and checkpoints."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    }


def test_runs_at_once(project: Path, start: Start, kedro: Kedro, runs: Runs) -> None:
    """Same name: refused, until the first is killed. Other name: both fine, from no database on.

    Oracle: the files and MLflow runs that are there before and after.
    """
    (project / "mlflow.db").unlink()
    endless = {"training.updates": 1_000_000, "training.checkpoint_every": 1_000_000}
    first, other = start(endless), start({"run": "other"}, "train")
    said = other.communicate(timeout=300)[0]
    assert other.returncode == 0, said
    checkpoints = project / "data/06_models/_checkpoints/demo"
    deadline = time.monotonic() + 300
    while not any("train/loss" in run.data.metrics for run in runs() if is_demo(run)):
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < deadline, "the first run did not begin to train"
        time.sleep(0.2)
    assert checkpoints.is_dir()

    # Stopped, it still holds what it has claimed, and what others change can be seen.
    first.send_signal(signal.SIGSTOP)
    before = content(project)
    for pipelines, params, place in (
        ("", {}, "run demo"),
        ("features", {"data.sources.demo_dev.passages": 5}, "feature_set=demo"),
    ):
        second = kedro(pipelines, params)
        assert second.returncode == 1
        assert f"Error: {place}: got another " in second.stderr
        assert f"process {first.pid} on {os.uname().nodename}, since 20" in second.stderr
        assert "Traceback" not in second.stdout + second.stderr
        assert content(project) == before
    assert {run.info.run_name: run.info.status for run in runs()} == {
        "demo": "RUNNING",
        "other": "FINISHED",
    }

    first.kill()
    first.wait()
    again = kedro("train")
    assert again.returncode == 0, again.stderr
    assert (project / "data/06_models/demo/reader.json").is_file()


def is_demo(run: Run) -> bool:
    return bool(run.info.run_name == "demo")
