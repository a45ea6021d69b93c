"""A user's own questions and encoder, by the short command."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import cycle
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
PASSAGES, QUESTIONS = 48, 96
UPDATES, WARM_UP = 72, 4
"""3 epochs of 96 windows by fours, and 6 % of them."""


def _command(encoder: Path, pipeline: str = "", **params: object) -> list[str]:
    given = {"data.train": "train.json", "data.dev": "dev.json", "model.encoder": encoder}
    text = ",".join(f"{name}={value}" for name, value in (given | SMALL | params).items())
    chosen = ("--pipeline", pipeline) if pipeline else ()
    return ["run", "--env", "own", *chosen, "--params", text]


def _squad() -> dict[str, Any]:
    """Passages of one window each, with an answerable and an unanswerable question to each."""
    paragraphs = []
    rivers = cycle(("Amazon", "Andes", "Atlantic", "Peru", "Manaus", "Ocean"))
    for number, river in zip(range(PASSAGES), rivers, strict=False):
        passage = f"The old bridge over the {river} was built in 1{number:02}9."
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
    own_files: Path, command: Command, fork: Fork, roberta_folder: Path, runs: Runs
) -> None:
    """Also for a run that was ended by SIGTERM to go on.

    Oracle: sums by hand; the record says what was done and not what was left to choose.
    """
    every = {"training.checkpoint_every": 1}
    process = fork(_command(roberta_folder, **every), own_files, separate_stderr=False)
    for _ in _until(lambda: list(own_files.glob("data/06_models/_checkpoints/own/*/update-*"))):
        assert process.poll() is None, process.said()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 128 + signal.SIGTERM
    assert "Traceback" not in process.said()
    assert [run.info.status for run in runs()] == ["KILLED"]
    assert not (own_files / "data/06_models/own").exists(), "it was not stopped before its end"
    done = command(*_command(roberta_folder, **every))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "going on from" in said
    assert "next: kedro ask --run own --env own" in said
    assert (
        f"3 epochs of {QUESTIONS} windows = {UPDATES} updates of 4, {WARM_UP} of them warm-up"
        in said
    )
    fast = fast_precision(available_device())
    reader = own_files / "data/06_models/own"
    header = json.loads((reader / "reader.json").read_text())
    recipe = header["recipe"]["training"]
    assert (recipe["updates"], recipe["warmup_updates"], recipe["lr"]) == (UPDATES, WARM_UP, 2e-4)
    assert (recipe["precision"], header["inference"]["precision"]) == (fast, fast)
    evaluation = json.loads((reader / "evaluation.json").read_text())
    assert evaluation["inference"] == header["inference"]
    run, _ = runs()
    assert (run.info.run_name, run.data.tags["experiment"]) == ("own", "own")
    params = run.data.params
    assert (params["training.epochs"], params["training.updates"]) == ("3.0", "None")
    assert (params["trained_with.updates"], params["trained_with.lr"]) == (str(UPDATES), "0.0002")
    assert params["trained_with.precision"] == params["answered_with.precision"] == fast


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
