"""How a run ends in MLflow when it does not end well."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[..., list[Run]]
Start = Callable[..., Any]


def test_interrupted_run_is_killed_and_its_curves_were_live(
    project: Path, start: Start, runs: Runs
) -> None:
    """By Ctrl-C; a run that is ended by SIGTERM stands in test_own_data.py."""
    process = start(
        {
            "training.updates": 100_000,
            "training.warmup_updates": 10,
            "training.evaluate_every": 10,
        }
    )
    deadline = time.monotonic() + 300
    live = {"train/loss", "validation/loss", "validation/best_f1", "validation/answerable_f1"}
    while not any(live <= run.data.metrics.keys() for run in runs()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no learning curve while the run was going on"
        time.sleep(0.5)
    assert [run.info.status for run in runs()] == ["RUNNING"]
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert "Traceback" not in said
    assert [run.info.status for run in runs()] == ["KILLED"]
    assert not (project / "data/06_models/demo").exists()


def test_run_that_raises_is_failed(project: Path, kedro: Kedro, runs: Runs) -> None:
    """Oracle: a learning rate at which 32-bit numbers overflow."""
    done = kedro(params={"training.lr": 1e30, "training.updates": 50})
    assert done.returncode == 1
    assert "got loss nan; expected a finite number" in done.stderr
    assert "Lower training.lr" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert [run.info.status for run in runs()] == ["FAILED"]
    assert not (project / "data/06_models/demo").exists()


def test_unreachable_server_is_said_before_any_work(project: Path, kedro: Kedro) -> None:
    """Oracle: port 9 of this machine, on which nothing listens."""
    done = kedro(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "Error: MLflow tracking store http://127.0.0.1:9: got no answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project / "data/01_raw/demo/demo_train.json").exists()


def test_tracking_uri_is_respected(
    finished_copy: Path,
    tmp_path_factory: pytest.TempPathFactory,
    database: Path,
    kedro: Kedro,
    runs: Runs,
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(database, elsewhere)
    before = len(runs())
    done = kedro("evaluate", MLFLOW_TRACKING_URI=f"sqlite:///{elsewhere / database.name}")
    assert done.returncode == 0, done.stderr
    assert [run.info.run_name for run in runs(elsewhere)] == ["demo"]
    assert len(runs()) == before
