"""A reader scored on other data than its own. Oracle: the files of the run that trained it."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from roberta_squad_pipeline.demo.generator import generate
from roberta_squad_pipeline.reader.device import available_device, fast_precision

Command = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def elsewhere(finished_copy: Path) -> Path:
    """Well over a hundred questions, in a file with a name that --params could not hold.

    The first answer stands elsewhere than it says, which nothing that is scored is rejected for.
    """
    path = finished_copy / "my, other $questions.json"
    squad: Any = generate("dev", passages=20, seed=7)
    asked = (q for article in squad["data"] for p in article["paragraphs"] for q in p["qas"])
    next(q for q in asked if q["answers"])["answers"][0]["answer_start"] += 1
    path.write_text(json.dumps(squad), encoding="utf-8")
    return path


def digests(project: Path, run: str = "demo") -> dict[str, str]:
    """Of all that a run has written."""
    folders = (project / "data").glob(f"*/{run}")
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_scores_go_under_a_name_of_their_own(
    finished_copy: Path, elsewhere: Path, command: Command, runs: Runs
) -> None:
    # Below all scores, so that it abstains everywhere.
    evaluation = finished_copy / "data/06_models/demo/evaluation.json"
    own = _json(evaluation)
    own["calibration"]["threshold"] = -1000.0
    # As on a GPU; here it would be emulated, unless the processor has it.
    own["inference"]["precision"] = "bf16"
    evaluation.write_text(json.dumps(own), encoding="utf-8")
    before = digests(finished_copy)
    [trained] = runs()
    arguments = ("--run", "demo", "--data", elsewhere.name, "--as", "theirs")
    done = command("evaluate", *arguments, "--params", "training.updates=77,training.seed=9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(finished_copy) == before
    found = _json(finished_copy / "data/08_reporting/theirs/evaluation.json")
    assert found["data_sha256"] == hashlib.sha256(elsewhere.read_bytes()).hexdigest()
    assert found["scores"] == _json(finished_copy / "data/08_reporting/theirs/metrics.json")
    assert found["scores"]["total"] == found["questions"] == elsewhere.read_text().count('"id"')
    assert "1 misaligned answers without a place" in " ".join(done.stdout.split())
    assert found["tuned_elsewhere"]
    for kept in ("threshold", "no_answer", "answer"):
        assert found["calibration"][kept] == own["calibration"][kept]
    assert not (finished_copy / "data/06_models/theirs").exists()
    answered_with = _json(finished_copy / "data/07_model_output/theirs/answered_with.json")
    assert answered_with["precision"] == fast_precision(available_device())
    assert "at the reader's own threshold: exact" in done.stdout
    assert "warning: the reader abstains on every question" in done.stdout
    assert f"{found['questions']} questions of {elsewhere.name}" in done.stdout
    run = runs()[0]
    assert (run.data.tags["reader"], run.data.tags["experiment"]) == ("demo", "theirs")
    assert run.data.tags["warning.abstains"] == "100.0% of the dev questions"
    assert "fingerprint" not in run.data.tags
    # Trained with: the reader's own settings, whatever the command says.
    assert run.data.tags["training_run"] == trained.info.run_id
    [evaluated], [made] = run.inputs.model_inputs, trained.outputs.model_outputs
    assert evaluated.model_id == made.model_id
    assert run.data.tags["seed"] == trained.data.tags["seed"]
    for name in ("training.updates", "training.seed", "model.encoder"):
        assert run.data.params[name] == trained.data.params[name]
    signature = _json(finished_copy / "data/08_reporting/theirs/metrics_signature.json")
    for name in ("data", "data_sha256", "questions", "version"):
        assert signature.pop(name) == found[name]
    assert signature == {"threshold": 0.0, "null_score": "best_span"}
    # The same name with another content.
    before = digests(finished_copy, "theirs")
    elsewhere.write_text(json.dumps(generate("dev", passages=20, seed=8)), encoding="utf-8")
    again = command("evaluate", *arguments)
    assert again.returncode == 1
    assert "features of run theirs: got other settings or data" in again.stderr
    assert "finished run's (sha256.dev: " in again.stderr
    assert digests(finished_copy, "theirs") == before


def test_nothing_is_replaced_in_silence(
    finished_copy: Path, elsewhere: Path, command: Command
) -> None:
    """The run's own name with other data or settings, and a name that has a reader."""
    before = digests(finished_copy)
    refused = {
        "kedro evaluate --run demo --data FILE --as NAME": (
            *("run", "--pipelines", "download,features,inference,evaluate"),
            *("--params", "feature_set=other,data.dev=demo_train"),
        ),
        "the name of a run that has a reader itself": (
            *("evaluate", "--run", "demo", "--data", elsewhere.name, "--as", "demo"),
        ),
        "inference.max_answer_tokens: 48 there, 9 here": (
            *("run", "--pipelines", "evaluate", "--params", "inference.max_answer_tokens=9"),
        ),
        "features of run demo: got other settings or data than the finished run's (data.dev": (
            *("run", "--pipelines", "download,features", "--params", "data.dev=demo_train"),
        ),
        "the finished one: --params overwrite=true": (
            "run",
            "--params",
            "training.lr=0.5",
        ),
        "a pipeline that trains a reader of its own": ("run", "--params", "reader=demo,run=other"),
    }
    for said, arguments in refused.items():
        done = command(*arguments)
        assert done.returncode == 1, done.stdout
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert digests(finished_copy) == before


def test_calibrate_tunes_the_reader_and_no_more(
    finished_copy: Path, elsewhere: Path, command: Command
) -> None:
    """On questions that all have answers, as in SQuAD 1.1: it always answers, and says why."""
    squad = _json(elsewhere)
    for article in squad["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [qa for qa in paragraph["qas"] if not qa.pop("is_impossible")]
    squad["version"] = "1.1"
    elsewhere.write_text(json.dumps(squad), encoding="utf-8")
    before = digests(finished_copy)
    arguments = ("--run", "demo", "--data", elsewhere.name, "--as", "theirs", "--calibrate")
    done = command("evaluate", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    after = digests(finished_copy)
    evaluation = finished_copy / "data/06_models/demo/evaluation.json"
    assert {path for path in after if after[path] != before[path]} == {str(evaluation)}
    assert _json(evaluation)["data"] == elsewhere.name
    assert not _json(evaluation)["tuned_elsewhere"]
    assert _json(evaluation)["calibration"]["always_answers"]
    assert "not calibrated, since every question has an answer: it answers every" in done.stdout
