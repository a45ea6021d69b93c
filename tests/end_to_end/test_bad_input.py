"""A user's mistake is one message that names file, place, rule and remedy; exit code 1."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click import ClickException
from kedro.io.core import DatasetError
from mlflow.entities import Run

from roberta_squad_pipeline.cli import _messages_for_errors

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Squad = dict[str, Any]


def _squad() -> Squad:
    """Two questions to one passage, one of them unanswerable."""
    passage = "Mill Bridge crosses the Wend. It was opened in 1823."
    answer = {"text": "Wend", "answer_start": passage.index("Wend")}
    questions = [
        {"id": "a", "question": "Which river?", "answers": [answer], "is_impossible": False},
        {"id": "b", "question": "How long is it?", "answers": [], "is_impossible": True},
    ]
    paragraphs = [{"context": passage, "qas": questions}]
    return {"version": "v2.0", "data": [{"title": "Bridges", "paragraphs": paragraphs}]}


def _edited(edit: Callable[[dict[str, Any], list[Any]], object]) -> str:
    squad = _squad()
    paragraph = squad["data"][0]["paragraphs"][0]
    edit(paragraph, paragraph["qas"])
    return json.dumps(squad)


Q0 = "data[0].paragraphs[0].qas[0]"
# Each kind of damage has its test beside the reader of files; these show what a user sees.
BROKEN = {
    "truncated": (json.dumps(_squad())[:-20], "line 1"),
    "misaligned": (_edited(lambda p, q: q[0]["answers"][0].update(answer_start=3)), Q0),
    "no unanswerable": (_edited(lambda p, q: q.pop(1)), "unanswerable"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_file(project: Path, kedro: Kedro, kind: str) -> None:
    text, place = BROKEN[kind]
    (project / "own.json").write_text(text, encoding="utf-8")
    done = kedro("download,features", {"data.train": "own.json", "run": "own"})
    _check_one_message(done, "own.json", place)
    assert not (project / "data/04_feature/own/train.arrow").exists()
    assert not (project / "data/01_raw/own/squad_files.json").exists()


def test_misaligned_answers_can_be_dropped(project: Path, kedro: Kedro) -> None:
    squad = _squad()
    questions = squad["data"][0]["paragraphs"][0]["qas"]
    bad = {"text": "Wend", "answer_start": 3}
    questions.append({"id": "c", "question": "Over what?", "answers": [bad]})
    (project / "own.json").write_text(json.dumps(squad))
    done = kedro("download,features", {"data.train": "own.json", "data.on_misaligned": "drop"})
    assert done.returncode == 0, done.stderr
    assert "2 questions" in done.stdout
    assert "1 misaligned answers without a place" in done.stdout
    assert "train: misaligned answer (1)" in " ".join(done.stdout.split())


def test_validation_reports_all_and_rejects_the_unfit(project: Path, kedro: Kedro) -> None:
    squad = _squad()
    paragraph = squad["data"][0]["paragraphs"][0]
    paragraph["qas"][0]["answers"][0]["answer_start"] = 3
    paragraph["qas"][1]["question"] = "\x1b[2J How long?"
    (project / "own.json").write_text(json.dumps(squad))
    done = kedro("validate", {"data.train": "own.json"})
    _check_one_message(done, f"own.json: {Q0}.answers[0]", "data/08_reporting/demo/validation.md")
    written = (project / "data/08_reporting/demo/validation.md").read_text(encoding="utf-8")
    assert written in done.stdout
    report = json.loads((project / "data/08_reporting/demo/validation.json").read_text())
    misaligned, odd = report["files"]["train"]["findings"]
    wend = paragraph["context"].index("Wend")
    assert misaligned["places"][0]["proposed_answer_start"] == wend
    assert (odd["kind"], odd["stops_features"]) == ("control_character", False)
    assert report["files"]["dev"]["findings"] == []


def test_records_go_the_same_way_as_squad(
    project: Path, command: Kedro, runs: Callable[[], list[Run]]
) -> None:
    """JSON Lines in two files for training, Parquet by an own entry of the catalog for dev.

    Features alone open no run.

    Ids are numbers, no version is given, names hold commas; --params have the last word.
    """
    paragraph = _squad()["data"][0]["paragraphs"][0]
    records = [
        {
            "id": number,
            "context": paragraph["context"],
            "question": asked["question"],
            "answers": {
                key: [answer[key] for answer in asked["answers"]]
                for key in ("text", "answer_start")
            },
        }
        for number, asked in enumerate(paragraph["qas"])
    ]
    names = ["my, own.jsonl", "$own.jsonl"]
    for name, record in zip(names, records, strict=True):
        (project / name).write_text(json.dumps(record))
    pq.write_table(pa.Table.from_pylist(records), project / "own, $too.parquet")
    conf = project / "conf"
    shared = conf.resolve()
    conf.unlink()
    shutil.copytree(shared, conf, ignore=shutil.ignore_patterns("local"))
    mine = conf / "mine"
    mine.mkdir()
    (mine / "parameters.yml").write_text(json.dumps({"data": {"train": names}}))
    entry = {"type": "pandas.ParquetDataset", "filepath": "own, $too.parquet"}
    (mine / "catalog.yml").write_text(json.dumps({"dev_questions": entry}))
    run = ("run", "--env", "mine", "--pipelines", "download,features")
    done = command(*run)
    assert done.returncode == 0, done.stderr
    for split in ("train", "dev"):
        assert re.search(rf"{split}: [12] passages, 2 questions", " ".join(done.stdout.split()))
    assert (project / "data/04_feature/demo/dev.arrow").is_file()
    assert runs() == []
    record = json.loads((project / "data/01_raw/demo/squad_files.json").read_text())
    assert record["dev"]["path"] == "data/01_raw/demo/dev_questions.jsonl"
    assert json.loads((project / record["train"]["path"]).read_text()) == names
    again = command(*run[:3], "--pipelines", "download", "--params", "data.dev=$own.jsonl")
    assert again.returncode == 0, again.stderr
    record = json.loads((project / "data/01_raw/demo/fetched_files.json").read_text())
    assert record["dev"]["path"] == "$own.jsonl"


@pytest.mark.parametrize(
    ("params", "place"),
    [
        # Each is found by another part of the chain; what else may be wrong, its own tests show.
        ({"training.lrr": 1}, "training.lrr"),
        ({"data.train": "own.json"}, "parameter model.encoder: got the embedded encoder"),
        ({"data.dev": "missing.json"}, "missing.json"),
        ({"model.encoder": "data"}, "model.encoder=data"),
        ({"features.max_tokens": 4096}, "features.max_tokens"),
    ],
)
def test_wrong_parameter(project: Path, kedro: Kedro, params: dict[str, Any], place: str) -> None:
    _check_one_message(kedro("train", params), place)
    assert not (project / "data/06_models/demo").exists()


def test_outputs_of_an_earlier_pipeline_that_are_missing(project: Path, kedro: Kedro) -> None:
    first = kedro("inference")
    _check_one_message(first, "data/06_models/demo", "kedro run --pipeline train")
    assert "No nodes ran" not in first.stdout
    _check_one_message(kedro("evaluate"), "squad_files.json")


@pytest.mark.parametrize(
    ("option", "name", "rule"),
    [
        ("--pipelines", "featurs", "Did you mean"),
        ("--nodes", "train.train_readr", "Did you mean train.train_reader?"),
        ("--to-outputs", "metric", "does not contain datasets"),
        ("--env", "nope", "Its environments (--env) are base, local, own, squad2."),
        ("--runner", "Nope", "has no attribute"),
        ("--runner", "ParallelRunner", "expected Kedro's sequential runner"),
    ],
)
def test_unknown_name(project: Path, command: Kedro, option: str, name: str, rule: str) -> None:
    _check_one_message(command("run", option, name), name, rule=rule)


@pytest.mark.parametrize("wrapped", [False, True])
def test_full_disk(wrapped: bool) -> None:
    """Oracle: the system's own error, as it comes or as a dataset wraps it."""
    with pytest.raises(OSError, match="28") as caught:
        Path("/dev/full").write_text("a", encoding="utf-8")
    error = DatasetError("Failed while saving") if wrapped else caught.value
    said = pytest.raises(ClickException, match=r"No space left on device.*Make room")
    with said, _messages_for_errors():
        raise error from caught.value


def test_features_of_another_tokenizer(
    finished_copy: Path, kedro: Kedro, bert_folder: Path
) -> None:
    assert kedro("features", {"model.encoder": bert_folder, "overwrite": True}).returncode == 0
    _check_one_message(kedro("inference"), "reader", str(bert_folder))


def _check_one_message(
    done: subprocess.CompletedProcess[str], *places: str, rule: str = "expected"
) -> None:
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert said.count("Error: ") == 1
    message = done.stderr[done.stderr.index("Error: ") :]
    for place in places:
        assert place in message
    assert rule in message
