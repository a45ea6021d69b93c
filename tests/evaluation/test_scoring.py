"""Exact, F1 and the report.

Oracles: the official scorer's own output for the golden files; for any other input, slow and
obvious functions written here from its public description.
"""

import json
import string
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.scoring import (
    normalise,
    normalised_words,
    score_questions,
    squad_report,
    word_f1,
)
from roberta_squad_pipeline.squad.dataset import read_gold

FIELDS = [
    "exact",
    "f1",
    "total",
    "HasAns_exact",
    "HasAns_f1",
    "HasAns_total",
    "NoAns_exact",
    "NoAns_f1",
    "NoAns_total",
    "best_exact",
    "best_exact_thresh",
    "best_f1",
    "best_f1_thresh",
]


def slow_words(text: str) -> list[str]:
    """The words that count: articles go where they stand between characters of no word."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    runs = ["".join(run) for _, run in groupby(kept, key=str.isalnum)]
    return "".join(" " if run in {"a", "an", "the"} else run for run in runs).split()


def slow_f1(gold: list[str], predicted: list[str]) -> float:
    if not gold or not predicted:
        return float(gold == predicted)
    rest, common = list(gold), 0
    for word in predicted:
        if word in rest:
            rest.remove(word)
            common += 1
    # 2pr / (p + r) with p = common / predicted and r = common / gold.
    return 2 * common / (len(predicted) + len(gold))


def slow_scores(answers: list[str], prediction: str) -> tuple[float, float]:
    golds = [words for words in map(slow_words, answers) if words] or [[]]
    predicted = slow_words(prediction)
    return (
        max(float(gold == predicted) for gold in golds),
        max(slow_f1(gold, predicted) for gold in golds),
    )


def slow_report(
    gold: dict[str, list[str]],
    predictions: dict[str, str],
    no_answer_scores: dict[str, float],
    threshold: float,
) -> dict[str, float]:
    """All fields but ``best_*``."""
    rows = []
    for question_id, answers in gold.items():
        exact, f1 = slow_scores(answers, predictions[question_id])
        if no_answer_scores[question_id] > threshold:
            exact = f1 = float(not answers)
        rows.append((bool(answers), exact, f1))
    report = {}
    for prefix, kinds in (("", {True, False}), ("HasAns_", {True}), ("NoAns_", {False})):
        chosen = [row for row in rows if row[0] in kinds]
        if chosen:
            report[f"{prefix}exact"] = 100 * sum(row[1] for row in chosen) / len(chosen)
            report[f"{prefix}f1"] = 100 * sum(row[2] for row in chosen) / len(chosen)
            report[f"{prefix}total"] = len(chosen)
    return report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat, a dog & an  Owl!", "cat dog owl"),
        ("", ""),
        ("the", ""),
        ("A.", ""),
        ("a.m.", "am"),  # punctuation goes before articles
        ("the-other theatre", "theother theatre"),
        ("the\u2013other", "\u2013other"),  # an en dash is no ASCII punctuation, and parts words
        ("l'an 1_000", "lan 1000"),
        ("Straße\u00a0 \tÉcole", "straße école"),
        ("naïve a\u0301 the", "naïve \u0301"),  # a combining mark alone is no part of a word
    ],
)
def test_normalise_examples(text: str, expected: str) -> None:
    """Worked out by hand from the description: lower case, punctuation, articles, white space."""
    assert normalise(text) == expected


@given(st.text() | st.text("aAnNtThHeE .,-\u2013_\n\u00a0'1É", max_size=30))
def test_normalise_equals_the_slow_one(text: str) -> None:
    assert normalise(text) == " ".join(slow_words(text))


@given(st.lists(st.text("aAnt\u03a3\u0130\0\ud800 .\n\r\u2028'", max_size=6)))
def test_texts_that_are_normalised_together_do_not_touch(texts: list[str]) -> None:
    """A sigma is lowered in another way at a word's end; half a surrogate pair is no UTF-8."""
    assert normalised_words(texts) == [slow_words(text) for text in texts]


@pytest.mark.parametrize(
    ("gold", "prediction", "expected"),
    [
        ("", "", 1.0),
        ("", "cat", 0.0),
        ("cat", "", 0.0),
        ("cat dog", "dog cat", 1.0),
        ("cat cat dog", "cat", 0.5),  # precision 1, recall 1/3
        ("cat", "cat cat dog", 0.5),
        ("cat dog", "owl", 0.0),
        ("cat dog owl", "dog owl fox hen", 4 / 7),  # precision 2/4, recall 2/3
    ],
)
def test_f1_examples(gold: str, prediction: str, expected: float) -> None:
    """Worked out by hand from the harmonic mean."""
    assert word_f1(gold.split(), prediction.split()) == pytest.approx(expected, abs=1e-15)


texts = st.lists(st.sampled_from(["cat", "the", "Dog,", "dog", "a", "owl."]), max_size=4).map(
    " ".join
)


@given(st.lists(texts, max_size=4), texts)
def test_scores_equal_the_slow_ones(answers: list[str], prediction: str) -> None:
    scores = score_questions({"q": answers}, {"q": prediction})
    exact, f1 = slow_scores(answers, prediction)
    assert scores.exact.tolist() == [exact]
    assert scores.f1.tolist() == pytest.approx([f1], abs=1e-12)
    assert scores.exact[0] <= scores.f1[0] <= 1


def test_gold_answers_that_vanish() -> None:
    """An answerable question whose gold answers are only articles wants the empty text."""
    gold = {"none left": ["the", "!"], "one left": ["the", "cat"]}
    scores = score_questions(gold, {"none left": "", "one left": ""})
    assert scores.exact.tolist() == [1.0, 0.0]
    assert scores.answerable.all()


questions = st.lists(
    st.tuples(
        st.lists(texts, max_size=3),  # gold answers
        texts,  # prediction
        st.integers(-3, 3),  # no-answer score, with many ties
    ),
    min_size=1,
    max_size=12,
)


@given(questions, st.integers(-4, 3))
def test_report_equals_the_slow_one(
    drawn: list[tuple[list[str], str, int]], threshold: int
) -> None:
    gold = {str(n): answers for n, (answers, _, _) in enumerate(drawn)}
    predictions = {str(n): text for n, (_, text, _) in enumerate(drawn)}
    odds = {str(n): float(score) for n, (_, _, score) in enumerate(drawn)}
    report = squad_report(gold, predictions, no_answer_scores=odds, threshold=threshold)
    expected = slow_report(gold, predictions, odds, threshold)
    assert list(report) == [name for name in FIELDS if name in expected or "best" in name]
    assert {name: report[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from(["", "cat", "dog"]), st.booleans()), min_size=1))
def test_best_figures_are_those_at_the_best_thresholds(drawn: list[tuple[str, bool]]) -> None:
    """Where no two no-answer scores are equal, a best threshold keeps what it promises."""
    gold = {str(n): ["cat owl"] * answerable for n, (_, answerable) in enumerate(drawn)}
    predictions = {str(n): text for n, (text, _) in enumerate(drawn)}
    # From 1 up, so that the threshold 0 of abstaining everywhere abstains everywhere.
    odds = {str(n): float(1 + n * 7 % 1009) for n in range(len(drawn))}
    report = squad_report(gold, predictions, no_answer_scores=odds, threshold=0.0)
    for name in ("exact", "f1"):
        best = squad_report(
            gold, predictions, no_answer_scores=odds, threshold=report[f"best_{name}_thresh"]
        )
        assert best[name] == pytest.approx(report[f"best_{name}"], abs=1e-9)


def test_report_by_hand() -> None:
    """Four questions: right, half right, wrongly answered, rightly left; abstained above 0."""
    gold = {"right": ["cat"], "half": ["cat dog owl"], "unasked": [], "left": []}
    predictions = {"right": "The cat", "half": "cat", "unasked": "cat", "left": "", "else": "x"}
    odds = {"right": 0.5, "half": -1.0, "unasked": 0.0, "left": -2.0, "else": 9.0}
    report = squad_report(gold, predictions, no_answer_scores=odds, threshold=0.0)
    assert list(report.items()) == [
        ("exact", 25.0),
        ("f1", 37.5),
        ("total", 4),
        ("HasAns_exact", 0.0),
        ("HasAns_f1", 25.0),
        ("HasAns_total", 2),
        ("NoAns_exact", 50.0),
        ("NoAns_f1", 50.0),
        ("NoAns_total", 2),
        # Abstaining everywhere has 2 of 4; no cut has more exact ones, and F1 gains at -1.
        ("best_exact", 50.0),
        ("best_exact_thresh", 0.0),
        ("best_f1", 62.5),
        ("best_f1_thresh", -1.0),
    ]
    assert all(type(value) in {int, float} for value in report.values())


@pytest.mark.parametrize(("order", "best"), [("qr", 100.0), ("rq", 50.0)])
def test_order_of_the_no_answer_scores_decides_ties(order: str, best: float) -> None:
    """The official search takes equal scores in the order of their file, not of the data set."""
    report = squad_report(
        {"q": ["cat"], "r": []},
        {"q": "cat", "r": "cat"},
        no_answer_scores=dict.fromkeys(order, 0.5),
        threshold=0.0,
    )
    assert report["best_exact"] == best


@pytest.mark.parametrize(
    ("gold", "absent"),
    [({"q": ["cat"]}, "NoAns"), ({"q": []}, "HasAns")],
)
def test_fields_of_an_absent_kind_are_left_out(gold: dict[str, list[str]], absent: str) -> None:
    report = squad_report(gold, {"q": "cat"}, no_answer_scores=None, threshold=1.0)
    assert list(report) == [
        name for name in FIELDS if absent not in name and not name.startswith("best")
    ]


def test_without_no_answer_scores_all_are_zero() -> None:
    gold = {"q": ["cat"], "r": []}
    predictions = {"q": "cat", "r": "cat"}
    for threshold, exact in ((0.0, [100.0, 0.0]), (-0.5, [0.0, 100.0])):
        report = squad_report(gold, predictions, no_answer_scores=None, threshold=threshold)
        assert [report["HasAns_exact"], report["NoAns_exact"]] == exact


def test_questions_without_prediction_score_nothing_and_count() -> None:
    """By hand; abstaining from "s", above the threshold, would be right."""
    gold: dict[str, list[str]] = {"q": ["cat"], "r": [], "s": [], "t": ["dog"]}
    report = squad_report(
        gold, {"q": "cat", "r": ""}, no_answer_scores={"q": 0.0, "r": 1.0, "s": 1.0}, threshold=0.0
    )
    assert (report["total"], report["HasAns_total"], report["NoAns_total"]) == (4, 2, 2)
    assert (report["exact"], report["HasAns_exact"], report["NoAns_exact"]) == (50.0,) * 3
    assert (report["best_exact"], report["best_f1"]) == (50.0, 50.0)


def test_a_kind_of_which_nothing_is_predicted_scores_nothing() -> None:
    gold: dict[str, list[str]] = {"q": ["cat"], "r": []}
    report = squad_report(gold, {"q": "cat"}, no_answer_scores=None, threshold=1.0)
    assert (report["HasAns_exact"], report["NoAns_exact"], report["NoAns_total"]) == (100.0, 0.0, 1)


@given(questions, st.data())
def test_missing_predictions_count_as_in_squad_1(
    drawn: list[tuple[list[str], str, int]], data: st.DataObject
) -> None:
    """Oracle: the official scorer of 1.1, which counts every question and adds up what is there."""
    gold = {str(n): answers for n, (answers, _, _) in enumerate(drawn)}
    kept = data.draw(st.sets(st.sampled_from(sorted(gold)), min_size=1))
    predictions = {name: drawn[int(name)][1] for name in gold if name in kept}
    report = squad_report(gold, predictions, no_answer_scores=None, threshold=1.0)
    scores = [slow_scores(gold[name], predictions[name]) for name in predictions]
    assert report["total"] == len(gold)
    assert report["exact"] == pytest.approx(100 * sum(one[0] for one in scores) / len(gold))
    assert report["f1"] == pytest.approx(100 * sum(one[1] for one in scores) / len(gold))


@pytest.mark.parametrize("odds", [{"r": 1.0}, {"q": np.nan, "r": 1.0}, {"q": -np.inf, "r": 1.0}])
def test_every_scored_question_needs_a_finite_score(odds: dict[str, float]) -> None:
    with pytest.raises(InputError, match="question 'q'; expected a finite number") as caught:
        squad_report(
            {"q": ["cat"], "r": []}, {"q": "", "r": ""}, no_answer_scores=odds, threshold=0
        )
    assert caught.value.where == "no-answer scores"
    assert caught.value.got == f"{odds.get('q', 'none')} for the question 'q'"
    assert caught.value.remedy == "Write predictions and no-answer scores in the same run."


@pytest.mark.parametrize(("lacking", "more"), [("qr", 1), ("qrs", 2)])
def test_lacking_scores_are_counted(lacking: str, more: int) -> None:
    gold: dict[str, list[str]] = {name: [] for name in lacking}
    with pytest.raises(InputError, match=rf"none for the question 'q' \(and {more} more\)"):
        squad_report(gold, dict.fromkeys(lacking, ""), no_answer_scores={}, threshold=0.0)


def test_predictions_for_other_questions_are_an_error() -> None:
    with pytest.raises(InputError, match="no prediction for any of the 1 questions") as caught:
        squad_report({"q": []}, {"other": ""}, no_answer_scores=None, threshold=1.0)
    assert caught.value.where == "predictions"
    assert caught.value.expected == "texts by question id, with ids of the data set"
    assert caught.value.remedy == "Check that predictions and data set belong together."


@pytest.mark.parametrize(
    ("name", "with_scores", "threshold"),
    [
        ("metrics.json", True, 0.0),
        ("metrics-threshold-minus-0.7.json", True, -0.7),
        ("metrics-no-null-odds.json", False, 1.0),
    ],
)
def test_report_equals_the_official_one(
    shared: Path, name: str, with_scores: bool, threshold: float
) -> None:
    def load(file: str) -> Any:
        return json.loads((shared / "squad/golden" / file).read_bytes())

    report = squad_report(
        read_gold(shared / "squad/dev-sample.json"),
        load("predictions.json"),
        no_answer_scores=load("null_odds.json") if with_scores else None,
        threshold=threshold,
    )
    expected = load(name)
    assert list(report) == list(expected)
    assert report == pytest.approx(expected, rel=0, abs=1e-9)
