"""Finished runs as one reader, as a user makes it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.entities import Run
from safetensors.torch import load_file, save_file

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.features.windows import UNLABELLED
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.model import new_reader
from roberta_squad_pipeline.reader.storage import load_reader, save_reader
from spans import read_spans

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _another(demo: Path, name: str) -> None:
    """A run that has trained, its weights a little beside those of `demo`."""
    other = demo.with_name(name)
    shutil.copytree(demo, other)
    torch.manual_seed(7)
    weights = load_file(other / "model.safetensors")
    moved = {key: tensor + 0.05 * torch.randn_like(tensor) for key, tensor in weights.items()}
    save_file(moved, other / "model.safetensors", metadata={"format": "pt"})


def _asked(squad: Path) -> dict[str, tuple[str, str]]:
    """Question and passage by id."""
    return {
        question["id"]: (question["question"], paragraph["context"])
        for article in _json(squad)["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }


def _check_answers(project: Path, run: str, reader: Path) -> None:
    """Holds a run's predictions against what its reader answers to the dev file itself."""
    questions = _asked(project / f"data/01_raw/{run}/demo_dev.json")
    answers = Reader.load(reader).answer_all(questions.values())
    nbest = read_spans(project / f"data/07_model_output/{run}")
    for id_, answer in zip(questions, answers, strict=True):
        assert [each.text for each in answer.candidates] == [each["text"] for each in nbest[id_]]


def _check_taught(project: Path, teacher: Path, more: dict[str, tuple[str, str]]) -> str:
    """Holds a teacher's no-answer logits of the student's windows against its own answers.

    Args:
        project: With a run `student`.
        teacher: Its folder.
        more: The unlabelled questions, with their passages.

    Returns:
        The teacher's short name.
    """
    asked = _asked(project / "data/01_raw/student/demo_train.json") | more
    answers = Reader.load(teacher).answer_all(asked.values())
    scores = {id_: one.no_answer_score for id_, one in zip(asked, answers, strict=True)}
    features = Features.open(project / "data/04_feature/student/train.arrow")
    ids = np.array(features.question_ids.to_pylist())[features.windows.question]
    assert {*ids} == asked.keys()
    [file] = (project / "data/05_model_input/student").iterdir()
    logits = TeacherLogits.open(file)
    np.testing.assert_allclose(logits.no_answer, [scores[each] for each in ids], atol=1e-4)
    assert ((features.windows.start == UNLABELLED) == np.isin(ids, [*more])).all()
    return file.stem


def test_an_ensemble_and_a_soup(
    finished_copy: Path, kedro: Kedro, runs: Runs, bert_folder: Path, window_config: WindowConfig
) -> None:
    """Two processes read with the ensemble. Oracle: `Reader` in one, on the dev file itself.

    It teaches a student with other tokens, on unlabelled questions, too.
    """
    demo = finished_copy / "data/06_models/demo"
    _another(demo, "demo_2")
    params = {"run": "both", "ensemble.members": "[demo,demo_2]", "distributed.processes": 2}
    done = kedro("ensemble", params)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "next: kedro ask --run both" in done.stdout
    assert "not made anew" not in " ".join(done.stdout.split())
    shutil.move(demo.with_name("both"), finished_copy / "moved")
    _check_answers(finished_copy, "both", finished_copy / "moved")
    assert len(_json(finished_copy / "data/08_reporting/both/metrics.json")) == 13
    tracked = runs()[0]
    assert tracked.data.tags["experiment"] == "both"
    assert tracked.data.params["ensemble.members"] == '["demo", "demo_2"]'
    assert "training.lr" not in tracked.data.params
    assert tracked.outputs.model_outputs
    members = json.loads(tracked.data.tags["members"])
    assert members.keys() == {"demo", "demo_2"}
    assert members["demo"] == runs()[1].data.tags["reader.weights"]
    shutil.copy(demo / "model.safetensors", demo.with_name("demo_2"))
    done = kedro("ensemble", params)
    assert done.returncode == 1
    assert "run both: got other settings" in done.stderr
    assert "(ensemble.weights.demo_2: " in done.stderr
    shutil.rmtree(demo.with_name("demo_2"))
    _another(demo, "demo_2")
    asked = _asked(finished_copy / "data/01_raw/both/demo_dev.json").values()
    more = {f"more.jsonl: line {line}": pair for line, pair in enumerate(asked, 1)}
    rows = [json.dumps({"question": q, "context": p}) for q, p in more.values()]
    (finished_copy / "more.jsonl").write_text("\n".join(rows), encoding="utf-8")
    params = {"run": "student", "distil.teacher": "moved", "distil.unlabelled": "more.jsonl"}
    params |= {f"features.{name}": value for name, value in window_config.model_dump().items()}
    done = kedro("distil", params | {"model.encoder": bert_folder})
    assert done.returncode == 0, done.stdout + done.stderr
    teacher = _check_taught(finished_copy, finished_copy / "moved", more)
    student = _json(demo.with_name("student") / "reader.json")["recipe"]
    assert student["training"]["distil"] == {
        "weight": 0.5,
        "temperature": 2.0,
        "teacher": teacher,
        "unlabelled": sha256_of(finished_copy / "more.jsonl"),
    }
    assert runs()[0].data.params["trained_with.distil.teacher"] == teacher
    # It would be trained on other data.
    del params["distil.unlabelled"]
    refused = kedro("distil", params | {"model.encoder": bert_folder})
    assert refused.returncode == 1
    assert "(distil.unlabelled: more.jsonl there, None here)" in refused.stderr
    done = kedro("ensemble", {"run": "soup", "ensemble.kind": "soup", "ensemble.members": "demo*"})
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "the soup is chosen by the dev questions" in said
    assert _json(demo.with_name("soup") / "evaluation.json")["selected_on_data"]
    assert Reader.load(demo.with_name("soup")).trained.in_torch is not None
    soup = _json(demo.with_name("soup") / "reader.json")["recipe"]["soup"]
    assert list(json.loads(runs()[0].data.tags["members"])) == soup["members"]


def test_members_with_other_tokens(
    finished_copy: Path, kedro: Kedro, bert_folder: Path, window_config: WindowConfig
) -> None:
    """Oracle: `Reader`, which builds windows for each member by itself."""
    demo = load_reader(finished_copy / "data/06_models/demo")
    config = ModelConfig(
        start=None,
        encoder=str(bert_folder),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )
    tokenizer = PassageTokenizer.load(str(bert_folder))
    windows = window_config.model_copy(update={"order": "question_first"})
    header = demo.header.model_copy(update={"tokenizer": tokenizer.identity, "windows": windows})
    reader = new_reader(config, max_tokens=windows.max_tokens, vocabulary=1)
    bert = replace(demo, reader=reader, tokenizer=tokenizer, header=header)
    save_reader(bert, finished_copy / "data/06_models/bert")
    done = kedro("ensemble", {"run": "mixed", "ensemble.members": "[demo,bert]"})
    assert done.returncode == 0, done.stdout + done.stderr
    _check_answers(finished_copy, "mixed", finished_copy / "data/06_models/mixed")


def test_a_member_that_is_not_there_is_missed_before_anything_is_made(
    finished_copy: Path, kedro: Kedro, runs: Runs
) -> None:
    before = len(runs())
    done = kedro("ensemble", {"run": "both", "ensemble.members": "[demo,dmeo]"})
    assert done.returncode == 1
    assert "ensemble.members: got dmeo, no run; expected two runs or more" in done.stderr
    assert not (finished_copy / "data/01_raw/both").exists()
    assert len(runs()) == before
