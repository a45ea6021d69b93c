"""`kedro sweep` as a user runs it, on runs of a few updates."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient
from mlflow.entities import Run

from roberta_squad_pipeline.cli import cli
from roberta_squad_pipeline.features.file import Features

Command = Callable[..., subprocess.CompletedProcess[str]]
Fork = Callable[..., Any]
Runs = Callable[[], list[Run]]

TINY = {
    "data.sources.demo_train.passages": 12,
    "data.sources.demo_dev.passages": 6,
    "training.updates": 4,
    "training.warmup_updates": 1,
    "training.batch_size": 8,
}
TABLE = "data/08_reporting/sweep/experiments.md"
PAIR = ("--experiments", "bs32_lr1p5,bs64_lr3p5")


def _options(*options: str, params: dict[str, Any] | None = None) -> list[str]:
    given = ",".join(f"{name}={value}" for name, value in (TINY | (params or {})).items())
    return ["sweep", *options, "--params", given]


def _begun(said: str) -> list[str]:
    return re.findall(r"^run \d+ of \d+: (\w+)", said, flags=re.MULTILINE)


def test_interrupted_sweep_goes_on_and_what_fails_is_named(
    project: Path, fork: Fork, command: Command, runs: Runs
) -> None:
    """Oracle: an experiment whose learning rate overflows 32-bit numbers.

    Another reads its windows in another order, for which features of its own are built.
    """
    row = "experiments.rows.broken."
    broken = {"updates": 5430, "warmup_updates": 326, "batch_size": 48}
    params = {row + key: value for key, value in broken.items()}
    params |= {f"{row}lr": 1e30, f"{row}layer_decay": 1.0, f"{row}reported.best_f1": 0}
    params |= {f"{row}order": "passage_first"}
    params |= {"training.updates": 60, "training.checkpoint_every": 20}
    sweep = _options("--experiments", "bs32_lr1p5,broken,question_first", params=params)

    process = fork(sweep, project, separate_stderr=False)
    _wait_for(process, lambda: [run.info.run_name for run in runs()] == ["sweep"])
    rival = command(*sweep)
    assert rival.returncode == 1
    assert f"which is going on (process {process.pid} " in rival.stderr
    assert [run.info.status for run in runs() if run.info.run_name == "sweep"] == ["RUNNING"]
    last = project / "data/06_models/_checkpoints/question_first_seed1"
    _wait_for(process, lambda: list(last.glob("*/update-*")))
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 1, said
    assert _begun(said) == ["bs32_lr1p5_seed1", "broken_seed1", "question_first_seed1"]
    assert {run.info.run_name: run.info.status for run in runs()} == {
        "sweep": "KILLED",
        "bs32_lr1p5_seed1": "FINISHED",
        "broken_seed1": "FAILED",
        "question_first_seed1": "KILLED",
    }

    again = command(*sweep)
    assert again.returncode == 1
    assert "1 of 3 runs failed: broken_seed1" in again.stderr
    assert _begun(again.stdout) == ["broken_seed1", "question_first_seed1"]
    assert "bs32_lr1p5_seed1: finished before" in again.stdout
    [parent] = [run for run in runs() if run.info.run_name == "sweep"]
    assert parent.info.status == "FAILED"
    children = [r for r in runs() if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted((run.info.run_name, run.info.status) for run in children) == [
        ("broken_seed1", "FAILED"),
        ("broken_seed1", "FAILED"),
        ("bs32_lr1p5_seed1", "FINISHED"),
        ("question_first_seed1", "FINISHED"),
        ("question_first_seed1", "KILLED"),
    ]
    check_table(project, parent, again.stdout)

    shared, other = (
        Features.open(folder / "dev.arrow").meta.windows.order
        for folder in sorted((project / "data/04_feature").iterdir())
    )
    assert (shared, other) == ("passage_first", "question_first")

    # Without the sweep's --params, its runs agree with no row any more.
    compared = command("run", "--pipeline", "compare", "--params", "feature_set=sweep")
    assert f"table: {(project / TABLE).as_uri()}" in compared.stdout
    strict, others = (
        (project / TABLE).read_text("utf-8").split("\nOther runs on the same questions")
    )
    assert re.findall(r"\| 1 \|", strict) == []
    [own] = [
        line for line in others.splitlines() if line.startswith("| bs32_lr1p5_seed1 | 60 | 8 |")
    ]
    assert "training.updates: 60 there, 260 here" in own

    check_pair(project, command)

    changed = command(*_options(*PAIR, "--dry-run", params={"training.weight_decay": 0.02}))
    assert changed.stdout.count("would run") == 2


def check_pair(project: Path, command: Command) -> None:
    """Two runs of the sweep side by side; one that failed is none of them."""
    pair = command("compare", "bs32_lr1p5_seed1", "question_first_seed1")
    assert pair.returncode == 0, pair.stderr
    assert "features.order: passage_first there, question_first here" in pair.stdout
    folder = project / "data/08_reporting/_compared"
    [folder] = folder.glob("*bs32_lr1p5_seed1_vs_question_first_seed1")
    assert all((folder / name).is_file() for name in ("comparison.html", "questions.csv"))
    unknown = command("compare", "bs32_lr1p5_seed1", "broken_seed1")
    assert unknown.returncode == 1
    assert "run broken_seed1: got no finished run of that name" in unknown.stderr


def check_table(project: Path, parent: Run, said: str) -> None:
    """It is the same in its file, on the terminal and with the parent run."""
    table = (project / TABLE).read_text(encoding="utf-8")
    measured = [line for line in table.splitlines() if re.search(r"\| 1 \|", line)]
    assert [line.split(" | ")[0] for line in measured] == ["| bs32_lr1p5", "| question_first"]
    assert "but, by --params or conf/, with batch_size 8, updates 60" in table
    assert table in said
    assert set(parent.data.metrics) == {"best_f1/bs32_lr1p5", "best_f1/question_first"}
    assert f"| {parent.data.metrics['best_f1/bs32_lr1p5']:.2f} | 1 |" in table
    kept = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").list_artifacts(parent.info.run_id)
    assert [artifact.path for artifact in kept] == ["experiments.csv", "experiments.md"]


def _wait_for(process: Any, there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_plan_seeds_and_shards(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the names by hand. Any folder of the project will do."""
    monkeypatch.chdir(project / "src")
    bootstrap_project(project)

    def dry(*options: str) -> Result:
        return CliRunner().invoke(cli, _options(*options, "--dry-run"))

    assert len(dry().output.splitlines()) == 10
    planned = dry(*PAIR, "--seeds", "2").output.splitlines()
    names = ["bs32_lr1p5_seed1", "bs32_lr1p5_seed2", "bs64_lr3p5_seed1", "bs64_lr3p5_seed2"]
    assert planned == [f"{name}: would run" for name in names]
    second = dry(*PAIR, "--seeds", "2", "--shard", "2/2")
    assert second.output.splitlines() == planned[1::2]
    assert dry("--shard", "3/2").exit_code == 2
    unknown = dry("--experiments", "bs32")
    assert unknown.exit_code == 1
    assert "Did you mean bs32_lr" in unknown.output
