"""A user's own questions and encoder, by the short command."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from roberta_squad_pipeline.reader.device import available_device, fast_precision

Command = Callable[..., subprocess.CompletedProcess[str]]
Fork = Callable[..., Any]
Runs = Callable[[], list[Run]]

SMALL = {
    "features.max_tokens": 64,
    "features.max_question_tokens": 20,
    "features.stride": 16,
    "training.batch_size": 4,
}
"""What the tiny encoder's windows and the few questions ask for."""
QUESTIONS = 12
UPDATES = 9
"""3 epochs of 12 windows by fours."""


def _command(encoder: Path, pipeline: str = "", **params: object) -> list[str]:
    given = {"data.train": "train.json", "data.dev": "dev.json", "model.encoder": encoder}
    text = ",".join(f"{name}={value}" for name, value in (given | SMALL | params).items())
    chosen = ("--pipeline", pipeline) if pipeline else ()
    return ["run", "--env", "own", *chosen, "--params", text]


def _squad() -> dict[str, Any]:
    """Six passages of one window each, with an answerable and an unanswerable question to each."""
    paragraphs = []
    for number, river in enumerate(("Amazon", "Andes", "Atlantic", "Peru", "Manaus", "Ocean")):
        passage = f"The old bridge over the {river} was built in 18{number}9."
        answer = {"text": river, "answer_start": passage.index(river)}
        asked = [
            {"id": f"{number}a", "question": "Which river?", "answers": [answer]},
            {"id": f"{number}b", "question": "Who painted it?", "answers": []},
        ]
        for question in asked:
            question["is_impossible"] = not question["answers"]
        paragraphs.append({"context": passage, "qas": asked})
    return {"version": "v2.0", "data": [{"title": "Bridges", "paragraphs": paragraphs}]}


@pytest.fixture
def own_files(project: Path) -> Path:
    for name in ("train.json", "dev.json"):
        (project / name).write_text(json.dumps(_squad()), encoding="utf-8")
    return project


def test_data_and_encoder_are_all_that_has_to_be_given(
    own_files: Path, command: Command, roberta_folder: Path, runs: Runs
) -> None:
    """Oracle: sums by hand; the record says what was done and not what was left to choose."""
    done = command(*_command(roberta_folder))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "next: kedro ask --run own --env own" in said
    assert f"3 epochs of {QUESTIONS} windows = {UPDATES} updates of 4, 1 of them warm-up" in said
    fast = fast_precision(available_device())
    reader = own_files / "data/06_models/own"
    header = json.loads((reader / "reader.json").read_text())
    recipe = header["recipe"]["training"]
    assert (recipe["updates"], recipe["warmup_updates"], recipe["lr"]) == (UPDATES, 1, 2e-4)
    assert (recipe["precision"], header["inference"]["precision"]) == (fast, fast)
    evaluation = json.loads((reader / "evaluation.json").read_text())
    assert evaluation["inference"] == header["inference"]
    (run,) = runs()
    assert (run.info.run_name, run.data.tags["experiment"]) == ("own", "own")
    params = run.data.params
    assert (params["training.epochs"], params["training.updates"]) == ("3.0", "None")
    assert (params["trained_with.updates"], params["trained_with.lr"]) == (str(UPDATES), "0.0002")
    assert params["trained_with.precision"] == params["answered_with.precision"] == fast


def test_a_killed_run_goes_on_by_the_same_command(
    own_files: Path, command: Command, fork: Fork, roberta_folder: Path
) -> None:
    """Oracle: the reader of a run that nothing happened to, bit by bit."""
    longer = {"training.epochs": 20, "training.checkpoint_every": 1}
    process = fork(_command(roberta_folder, "train", **longer), own_files, separate_stderr=False)
    folder = own_files / "data/06_models"
    for _ in _until(lambda: list((folder / "_checkpoints/own").glob("*/update-*"))):
        assert process.poll() is None, process.said()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=300)
    assert not (folder / "own").exists(), "it was not stopped before its end"
    again = command(*_command(roberta_folder, "train", **longer))
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stdout
    undisturbed = command(*_command(roberta_folder, "train", **longer, run="undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    one, other = (folder / run / "model.safetensors" for run in ("own", "undisturbed"))
    assert one.read_bytes() == other.read_bytes()


def test_a_run_without_data_shows_the_command(project: Path, command: Command) -> None:
    done = command("run", "--env", "own")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("Error: ") == 1
    message = " ".join(done.stderr.split())
    assert "parameter data.train, data.dev, model.encoder: got nothing" in message
    assert "kedro run --env own --params data.train=train.json,data.dev=dev.json,model" in message
    assert not (project / "data/08_reporting").exists()


def _until(there: Callable[[], object]) -> Iterator[None]:
    deadline = time.monotonic() + 300
    while not there():
        assert time.monotonic() < deadline, "it never came"
        yield
        time.sleep(0.005)
