"""The table of all questions."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.questions import (
    question_table,
    question_word,
    score_reader,
    scores_of,
    surest_answer,
)
from roberta_squad_pipeline.evaluation.scoring import score_questions
from roberta_squad_pipeline.squad.dataset import SquadDataset, read_squad
from roberta_squad_pipeline.squad.faults import OnMisaligned
from spans import as_nbest, spans_of

if TYPE_CHECKING:
    from pandas import DataFrame


def test_outcomes(questions: "DataFrame") -> None:
    """Oracle: by hand, see ASKED."""
    kinds = ["right", "partly", "wrong", "missed", "invented", "abstained"]
    assert questions["outcome"].tolist() == kinds * 12


def test_scores_are_the_scorers(questions: "DataFrame", scored: dict[str, Any]) -> None:
    """Oracle: the official report at the same threshold."""
    for name in ("exact", "f1"):
        values = questions[f"scored_{name}"]
        assert 100 * values.mean() == pytest.approx(scored["metrics"][name])
        of_answerable = values[questions["answerable"]]
        assert 100 * of_answerable.mean() == pytest.approx(scored["metrics"][f"HasAns_{name}"])


def test_spans_spell_their_texts(questions: "DataFrame") -> None:
    for row in questions.itertuples():
        assert row.passage[row.span_starts[0] : row.span_ends[0]] == row.predicted
        for answer, start in zip(row.answers, row.answer_starts, strict=True):
            assert row.passage.startswith(answer, start)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("In what year was it built?", "what"),
        ("How many were there?", "how many"),
        ("Whom did she meet?", "who"),
        ("Name the river.", "other"),
        ("Somewhat old, is it?", "other"),
        ("WHICH one?", "which"),
    ],
)
def test_question_words(question: str, word: str) -> None:
    assert question_word(question) == word


def test_every_question_is_scored_as_its_text(
    mills: SquadDataset, predicted: dict[str, Any], questions: "DataFrame"
) -> None:
    """Oracle: the scorer itself."""
    texts = {question: spans[0]["text"] for question, spans in spans_of(predicted["nbest"]).items()}
    found, right = scores_of(questions), score_questions(mills.gold, texts)
    assert found.ids == right.ids
    for name in ("exact", "f1", "answerable", "answered"):
        assert getattr(found, name).tolist() == getattr(right, name).tolist()


@pytest.mark.parametrize(
    ("part", "where"),
    [("nbest", "nbest.parquet"), ("windows", "dev features")],
)
def test_what_belongs_to_other_questions_is_told(
    mills: SquadDataset, predicted: dict[str, Any], part: str, where: str
) -> None:
    whole = predicted[part]
    if part == "nbest":
        lacking: Any = whole.filter([name != "3.1" for name in whole["id"].to_pylist()])
    else:
        lacking = {name: value for name, value in whole.items() if name != "3.1"}
    with pytest.raises(InputError, match=rf"{where}: got nothing for question 3\.1"):
        question_table(mills, **predicted | {part: lacking})


def test_predictions_of_an_earlier_version_are_refused(
    mills: SquadDataset, predicted: dict[str, Any]
) -> None:
    earlier = predicted["nbest"].drop_columns(["head_logit", "span_logit"])
    with pytest.raises(InputError, match=r"nbest.parquet: got the columns id, text"):
        question_table(mills, **predicted | {"nbest": earlier})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("column", ["score", "head_logit", "span_logit"])
def test_scores_that_are_no_numbers_are_told(
    mills: SquadDataset, predicted: dict[str, Any], column: str, value: float
) -> None:
    """Before anything is fitted on them."""
    rows = predicted["nbest"].to_pylist()
    (row,) = (each for each in rows if each["id"] == "3.1")
    row[column] = [*row[column][:-1], value] if column == "score" else value
    broken = pa.Table.from_pylist(rows)
    with pytest.raises(InputError, match=r"predictions of question 3\.1: got scores or logits"):
        question_table(mills, **predicted | {"nbest": broken})


@pytest.mark.parametrize("on_misaligned", ["drop", "repair"])
@pytest.mark.parametrize("shift", [0, 1, 10_000])
def test_scores_do_not_depend_on_where_answers_stand(
    shared: Path, tmp_path: Path, on_misaligned: OnMisaligned, shift: int
) -> None:
    """Oracle: the official scorer's report on real questions, which looks at no `answer_start`.

    Every second question's answers are shifted, and every tenth passage holds none of its answers.
    """
    golden = {
        name: json.loads((shared / f"squad/golden/{name}.json").read_bytes())
        for name in ("predictions", "null_odds", "metrics")
    }
    squad = json.loads((shared / "squad/dev-sample.json").read_bytes())
    passages = [passage for article in squad["data"] for passage in article["paragraphs"]]
    asked = [question for passage in passages for question in passage["qas"]]
    for question in asked[::2]:
        for answer in question["answers"]:
            answer["answer_start"] += shift
    if shift:
        for passage in passages[::10]:
            passage["context"] = "Nothing that answers anything."
    (tmp_path / "dev.json").write_text(json.dumps(squad))
    ids = [question["id"] for question in asked]
    span = {"char_start": 0, "char_end": 1, "score": 0.0}
    spans = {id_: [span | {"text": golden["predictions"][id_]}] for id_ in ids}
    table = question_table(
        read_squad(tmp_path / "dev.json", on_misaligned=on_misaligned),
        as_nbest(spans, golden["null_odds"]),
        dict.fromkeys(ids, 1),
    )
    scored = score_reader(table, "best_span", None)
    assert scored.metrics == pytest.approx(golden["metrics"], rel=0, abs=1e-9)
    kept = score_reader(table, "best_span", scored.tuning)
    assert kept.at_threshold == scored.at_threshold
    assert table["id"].tolist() == ids
    assert all(len(row.answer_starts) <= len(row.answers) for row in table.itertuples())


def test_the_surest_right_answer(questions: "DataFrame") -> None:
    """Oracle: by hand, see ASKED; the reader is made surer of one question, and of a wrong one."""
    scores = {"Who built mill 3?": -99.0, "Is mill 3 old?": -100.0}
    surer = questions.assign(
        no_answer_score=questions["question"].map(scores).fillna(questions["no_answer_score"])
    )
    found = surest_answer(surer)
    assert found is not None
    assert found["question"] == "Who built mill 3?"
    assert found["passage"] == questions.set_index("question").loc["Who built mill 3?", "passage"]
    assert surest_answer(surer.assign(abstains=True)) is None
