"""Files of questions to files of answers.

Oracle: the answers of the same reader to the same questions in Python, and for a run that was
stopped the files of one that was not.
"""

import dataclasses
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.inference import file_answers, job
from roberta_squad_pipeline.inference.answering import Asked, answer_questions, as_row
from roberta_squad_pipeline.inference.file_answers import Done
from roberta_squad_pipeline.reader.device import available_device
from roberta_squad_pipeline.reader.storage import TrainedReader, save_reader
from roberta_squad_pipeline.squad.dataset import SquadDataset

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = DistributedConfig(
    processes=1,
    nodes=1,
    node_rank=0,
    rendezvous=None,
    join_timeout_s=1,
    strategy="ddp",
    max_restarts=0,
)
Predict = Callable[[Path, Path], Done]
Records = list[dict[str, Any]]


@pytest.fixture
def trained(evaluated: TrainedReader, tmp_path: Path) -> TrainedReader:
    save_reader(evaluated, tmp_path / "reader")
    return dataclasses.replace(evaluated, path=tmp_path / "reader")


@pytest.fixture
def predict(trained: TrainedReader) -> Predict:
    return lambda questions, output: job.answer_questions_of(
        questions, output, trained, ALONE, name="demo"
    )


@pytest.fixture
def records(tiny_squad: SquadDataset) -> Records:
    return [
        {"id": question.id, "question": question.text, "context": passage.text}
        for passage in tiny_squad.passages
        for question in passage.questions
    ]


def json_lines(records: Records, path: Path) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def rows_of(path: Path) -> Records:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def nested(records: Records, path: Path) -> Path:
    paragraphs = [
        {"context": one["context"], "qas": [{"id": one["id"], "question": one["question"]}]}
        for one in records
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def table(records: Records, path: Path) -> Path:
    frame = pd.DataFrame(records)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def test_every_form_is_answered_as_in_python(
    predict: Predict, trained: TrainedReader, records: Records, tmp_path: Path
) -> None:
    asked = [Asked(one["question"], one["context"]) for one in records]
    answers = answer_questions(trained, asked, device=available_device())
    expected = [
        {"id": record["id"]} | as_row(answer, trained.calibration.abstains_above)
        for record, answer in zip(records, answers, strict=True)
    ]
    assert [row["answer"] for row in expected] == [answer.text for answer in answers]
    for make, name in (
        (json_lines, "lines.jsonl"),
        (nested, "nested.json"),
        (table, "table.parquet"),
        (table, "table.csv"),
    ):
        output = tmp_path / "out" / f"{name}.jsonl"
        assert predict(make(records, tmp_path / name), output).questions == len(records)
        assert rows_of(output) == expected
        assert [path.name for path in output.parent.iterdir()] == [output.name]
        output.unlink()
    predict(tmp_path / "lines.jsonl", tmp_path / "answers.parquet")
    frame = pd.read_parquet(tmp_path / "answers.parquet")
    for row, wanted in zip(frame.to_dict(orient="records"), expected, strict=True):
        assert list(row.pop("candidates")) == wanted.pop("candidates")
        assert {name: None if pd.isna(value) else value for name, value in row.items()} == wanted


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_run_that_was_killed_goes_on(
    predict: Predict,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    monkeypatch.setattr(file_answers, "_ROWS", 3)
    questions = json_lines(records, tmp_path / "questions.jsonl")
    undisturbed, output = tmp_path / f"undisturbed{suffix}", tmp_path / f"output{suffix}"
    predict(questions, undisturbed)
    answered = file_answers._answered
    sizes: list[int] = []

    def dies_in_the_second(trained: Any, chunk: Any, processes: Any) -> Any:
        sizes.append(len(chunk))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return answered(trained, chunk, processes)

    monkeypatch.setattr(file_answers, "_answered", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        predict(questions, output)
    assert not output.exists()
    assert predict(questions, output).questions == len(records)
    assert sizes == [3, 3, 3, len(records) - 6]
    assert output.read_bytes() == undisturbed.read_bytes()


def test_answers_to_other_questions_are_not_gone_on_with(
    predict: Predict, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_answers, "_ROWS", 3)
    questions, output = tmp_path / "questions.jsonl", tmp_path / "output.jsonl"
    json_lines(records, questions)
    with monkeypatch.context() as patch:
        patch.setattr(job, "write_answers", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(questions, output)
    predict(json_lines(records[:2], questions), output)
    assert [row["id"] for row in rows_of(output)] == [one["id"] for one in records[:2]]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_cannot_be_answered_costs_no_other(
    predict: Predict, records: Records, tmp_path: Path
) -> None:
    good = records[:2]
    bad: list[Any] = [
        good[0] | {"question": " "},
        {"id": 7, "question": "Who?"},
        good[0] | {"question": ["Who?"]},
        {"id": "nothing"},
        {"context": "A passage.", "qas": 3},
    ]
    path = json_lines([good[0], *bad, good[1]], tmp_path / "questions.jsonl")
    path.write_text(path.read_text() + "{\n", encoding="utf-8")
    done = predict(path, tmp_path / "output.jsonl")
    first, *wrong, last, broken = rows_of(tmp_path / "output.jsonl")
    assert (done.questions, done.errors) == (8, 6)
    assert [first["id"], last["id"]] == [good[0]["id"], good[1]["id"]]
    assert first["error"] is last["error"] is None
    said = ["line 2: got white space", "line 3: got nothing", "line 4.question: got a list"]
    said += ["line 5: got ", "line 6.qas: got 3"]
    for row, words in zip([*wrong, broken], [*said, "line 8, column"], strict=True):
        assert f"{path}: {words}" in row["error"]
        assert row["answer"] is row["best_span"] is row["threshold"] is None
    assert [row["id"] for row in wrong[:2]] == [good[0]["id"], "7"]
    assert done.first_error == wrong[0]["error"]


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), ("", "no questions at all")])
def test_nothing_to_answer(
    predict: Predict, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "questions.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said):
        predict(path, tmp_path / "output.jsonl")


def test_outputs_that_cannot_be_written(predict: Predict, records: Records, tmp_path: Path) -> None:
    questions = json_lines(records[:1], tmp_path / "questions.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="a folder"):
        predict(questions, tmp_path / "folder.jsonl")
    work = tmp_path / "output.jsonl.partial"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process that is writing it"):
            predict(questions, tmp_path / "output.jsonl")
