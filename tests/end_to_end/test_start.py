"""Runs that go on from a reader.

Oracle: the reader that they start from, at a learning rate that changes no weight.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.entities import Run
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

from roberta_squad_pipeline.common.files import sha256_of

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]
Start = Callable[..., Any]

NO_LEARNING = 1e-300
"""Zero as a 32-bit number."""

TINY_WINDOWS = {
    "features.order": "question_first",
    "features.max_tokens": 64,
    "features.max_question_tokens": 20,
    "features.stride": 16,
}


def weights(project: Path, run: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(
        project / "data/06_models" / run / "model.safetensors"
    )
    return tensors


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_run_goes_on_from_a_reader(finished_copy: Path, kedro: Kedro, runs: Runs) -> None:
    """The same weights and predictions; the record says what it started from."""
    start = "data/06_models/demo"
    done = kedro(params={"run": "more", "model.start": start, "training.lr": NO_LEARNING})
    assert done.returncode == 0, done.stderr
    assert f"starting from {start}" in said(done)
    assert same(weights(finished_copy, "more"), weights(finished_copy, "demo"))
    output = finished_copy / "data/07_model_output"
    for name in ("predictions.json", "null_odds.json", "nbest.parquet"):
        assert (output / "more" / name).read_bytes() == (output / "demo" / name).read_bytes()
    sha256 = sha256_of(finished_copy / start / "model.safetensors")
    recipe = json.loads((finished_copy / "data/06_models/more/reader.json").read_text())["recipe"]
    assert (recipe["model"]["start"], recipe["model"]["encoder"]) == (start, None)
    assert recipe["start"] == {
        "sha256": {"model.safetensors": sha256},
        "unused": [],
        "drawn": [],
    }
    params = runs()[0].data.params
    assert params["model.start"] == start
    assert params["model.start.sha256.model.safetensors"] == sha256


def test_reader_in_mlflow_in_two_processes_that_are_killed(
    finished: Path, project: Path, kedro: Kedro, start: Start
) -> None:
    """It is fetched to another folder each time, and the run goes on from its checkpoint."""
    shutil.copy(finished / "mlflow.db", project)
    params = {
        "run": "more",
        "model.start": "models:/roberta_squad_pipeline/1",
        "training.lr": NO_LEARNING,
        "training.updates": 20,
        "training.checkpoint_every": 1,
        "distributed.processes": 2,
    }
    process = start(params, "train")
    checkpoints = project / "data/06_models/_checkpoints/more"
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("*/update-*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint while the run was going on"
        time.sleep(0.01)
    process.kill()
    process.wait()
    again = kedro("train", params)
    assert again.returncode == 0, again.stderr
    assert re.search(r"going on from \S+/_checkpoints/more/\S+/update-", said(again))
    assert same(weights(project, "more"), weights(finished, "demo"))


def test_reader_is_refused_as_an_encoder_and_never_replaces_its_own_start(
    finished_copy: Path, kedro: Kedro
) -> None:
    folder = finished_copy / "data/06_models/demo"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for params, told in (
        ({"run": "more", "model.encoder": "data/06_models/demo"}, "--params model.start=data/06_"),
        ({"model.start": "data/06_models/demo"}, "got the folder that this run's own reader goes"),
        ({"run": "more", "model.start": "models:/nobody/1"}, "models:/nobody/1: got no reader in"),
    ):
        done = kedro(params=params)
        assert done.returncode == 1
        assert done.stderr.count("Error: ") == 1, done.stderr
        assert told in said(done)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.fixture
def checkpoint(roberta_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question-answering model of transformers with random weights."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config = AutoConfig.from_pretrained(roberta_folder)
    AutoModelForQuestionAnswering.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(roberta_folder).save_pretrained(folder)
    return folder


def test_run_goes_on_from_transformers_question_answering(
    project: Path, kedro: Kedro, checkpoint: Path
) -> None:
    """Its span head, too; of the other order it is refused, as an encoder it loses its head."""
    params = {"training.lr": NO_LEARNING} | TINY_WINDOWS
    done = kedro("train", params | {"model.start": checkpoint})
    assert done.returncode == 0, done.stderr
    told = "not there, and drawn at random: answerability_head.0.weight, answerability_head.0.bias"
    assert said(done).count(told) == 1
    theirs, ours = load_file(checkpoint / "model.safetensors"), weights(project, "demo")
    assert torch.equal(ours["span_head.weight"], theirs["qa_outputs.weight"])
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(ours[f"encoder.{words}"], theirs[f"roberta.{words}"])

    passage_first = params | {"model.start": checkpoint, "features.order": "passage_first"}
    refused = kedro("train", passage_first | {"run": "other"})
    assert refused.returncode == 1
    assert "Run with --params features.order=question_first" in said(refused)

    encoder = kedro("train", params | {"model.encoder": checkpoint, "run": "encoder"})
    assert encoder.returncode == 0, encoder.stderr
    assert said(encoder).count("of which the encoder alone is used") == 1
    assert not torch.equal(
        weights(project, "encoder")["span_head.weight"], theirs["qa_outputs.weight"]
    )
