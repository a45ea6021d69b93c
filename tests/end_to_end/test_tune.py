"""`kedro tune` as a user runs it, on runs of a few updates."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from roberta_squad_pipeline.tracking.tracker import flat_params

pytest.importorskip("optuna")

Command = Callable[..., subprocess.CompletedProcess[str]]
CONF = Path(__file__).parents[2] / "conf"
STUDY = {"trials": 2, "finalists": 1, "seeds": 2, "objective": "answerable_f1"}


def test_study(
    project: Path, command: Command, runs: Callable[[], list[Run]], tiny: dict[str, Any]
) -> None:
    # The winner is written there.
    (project / "conf").unlink()
    shutil.copytree(CONF, project / "conf")
    params = flat_params(tiny | {"tune": STUDY})
    given = ",".join(f"{name}={value}" for name, value in params.items())
    done = command("tune", "--params", given)
    assert done.returncode == 0, done.stderr
    made = re.findall(r"^(?:trial \d of 2|finalist): (\w+)", done.stdout, flags=re.MULTILINE)
    assert made[:2] == ["tune_trial0", "tune_trial1"]
    assert re.fullmatch(r"tune_trial[01]_seed2", made[2])

    [parent] = [run for run in runs() if run.info.run_name == "tune"]
    children = [r for r in runs() if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.run_name for run in children} == set(made)
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    kept = [artifact.path for artifact in client.list_artifacts(parent.info.run_id)]
    assert kept == ["trials.html", "trials.md", "tune_best.yml"]
    table = (project / "data/08_reporting/tune/trials.md").read_text(encoding="utf-8")
    assert table in done.stdout
    first, _ = table.splitlines()[2:]
    winner = first.split(" | ")[0].removeprefix("| ")
    assert f"{parent.data.metrics['answerable_f1']:.2f} (2)" in first

    # The winner is an experiment with what it was trained with.
    assert "next: kedro run --params experiment=tune_best" in done.stdout
    written = (project / "conf/experiments/tune_best.yml").read_text(encoding="utf-8")
    chosen = yaml.safe_load(written)
    [best] = [run for run in children if run.info.run_name == winner]
    assert best.data.params["training.lr"] == str(chosen["training"]["lr"])
    again = command("run", "--params", "experiment=tune_best")
    assert again.returncode == 0, again.stderr
    [repeated] = [run for run in runs() if run.info.run_name == "tune_best"]
    assert repeated.data.metrics["dev/best_f1"] == best.data.metrics["dev/best_f1"]
    assert repeated.data.tags["experiment"] == "tune_best"
    assert repeated.data.params["experiment"] == "demo"

    # Once more nothing is run.
    again = command("tune", "--params", given)
    assert again.returncode == 0, again.stderr
    assert table in again.stdout
    assert "trial 1 of" not in again.stdout
    assert len([run for run in runs() if run.info.run_name in {"tune", *made}]) == 4
