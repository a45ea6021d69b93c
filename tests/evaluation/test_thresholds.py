"""Scores at every threshold, and the search for the best one.

Oracle: the official scorer's own loops, and every cut tried one by one. There, scores are eighths,
so that sums are exact and equal ones equal.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.evaluation.scoring import (
    BestThreshold,
    QuestionScores,
    squad_report,
)
from roberta_squad_pipeline.evaluation.thresholds import (
    abstains_too_much,
    no_answer_auc,
    precision_recall,
    threshold_curve,
)

Row = tuple[int, int, bool, bool]  # eighths scored, no-answer score, answerable, answered

rows_with_ties = st.lists(
    st.tuples(st.integers(0, 8), st.integers(-3, 3), st.booleans(), st.booleans()),
    min_size=1,
    max_size=12,
)
rows_without_ties = st.lists(
    st.tuples(st.integers(0, 8), st.integers(-50, 50), st.booleans(), st.booleans()),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[1],
)


def best_threshold(
    values: np.ndarray, odds: np.ndarray, answerable: np.ndarray, answered: np.ndarray
) -> BestThreshold:
    ids = tuple(map(str, range(len(values))))
    return QuestionScores(ids, values, values, answerable, answered).best_threshold(values, odds)


def searched(rows: list[Row]) -> BestThreshold:
    scores, odds, answerable, answered = (np.array(column) for column in zip(*rows, strict=True))
    return best_threshold(scores / 8, odds.astype(np.float64), answerable, answered)


def mean_score(rows: list[Row], standing: set[int]) -> float:
    """Per cent, if only the answers of the rows in ``standing`` stand and the others abstain."""
    total = Fraction(0)
    for n, (eighths, _, answerable, answered) in enumerate(rows):
        if answerable:
            total += Fraction(eighths, 8) * (n in standing)
        else:
            total += not (n in standing and answered)
    return 100.0 * float(total) / len(rows)


@given(rows_without_ties)
def test_no_cut_is_better_and_no_lower_one_as_good(rows: list[Row]) -> None:
    best = searched(rows)
    outcome_of = {
        cut: mean_score(rows, {n for n, row in enumerate(rows) if row[1] <= cut})
        for cut in sorted(row[1] for row in rows)
    }
    abstaining = mean_score(rows, set())
    highest = max(abstaining, *outcome_of.values())
    assert best.score == highest
    if abstaining == highest:
        assert best.threshold == -np.inf
    else:
        assert best.threshold == next(cut for cut in outcome_of if outcome_of[cut] == highest)


@given(rows_with_ties)
def test_ties_are_taken_one_by_one_in_the_given_order(rows: list[Row]) -> None:
    order = sorted(range(len(rows)), key=lambda n: rows[n][1])
    best, threshold = mean_score(rows, set()), -np.inf
    for count, n in enumerate(order, start=1):
        outcome = mean_score(rows, set(order[:count]))
        if outcome > best:
            best, threshold = outcome, float(rows[n][1])
    assert searched(rows) == BestThreshold(best, threshold)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Worked out by hand. Nothing to gain: abstain.
        ([(0, -5, False, True)], BestThreshold(100.0, -np.inf)),
        # One right answer; the threshold is its own score, since only higher ones abstain.
        ([(8, -5, True, True), (0, 2, False, True)], BestThreshold(100.0, -5.0)),
        # Leaving an unanswerable one empty costs nothing and gains nothing.
        ([(0, -7, False, False), (8, -5, True, True)], BestThreshold(100.0, -5.0)),
        # A tie: the first order promises 100 %, though no threshold parts the two questions.
        ([(8, 1, True, True), (0, 1, False, True)], BestThreshold(100.0, 1.0)),
        ([(0, 1, False, True), (8, 1, True, True)], BestThreshold(50.0, -np.inf)),
    ],
)
def test_examples(rows: list[Row], expected: BestThreshold) -> None:
    assert searched(rows) == expected


@given(st.lists(st.sampled_from([-1.0, 0.1, 0.2, 1 / 3, 0.7, 1.0]), min_size=1, max_size=12))
def test_sums_are_rounded_as_a_running_sum_is(gains: list[float]) -> None:
    """Which of two nearly equal maxima comes first hangs on the rounding: plain floats from left.

    A gain of -1 is an unanswerable question that was answered, any other an answerable one's score.
    """
    answerable = np.array(gains) > 0
    total = best = float(np.count_nonzero(~answerable))
    threshold = -np.inf
    for n, gain in enumerate(gains):
        total += gain
        if total > best:
            best, threshold = total, float(n + 1)
    found = best_threshold(
        np.maximum(gains, 0.0),
        np.arange(1.0, len(gains) + 1),
        answerable=answerable,
        answered=np.ones(len(gains), dtype=bool),
    )
    assert found == BestThreshold(100.0 * best / len(gains), threshold)


def test_no_questions() -> None:
    none = np.zeros(0)
    with pytest.raises(ValueError, match="no questions"):
        best_threshold(none, none, none.astype(bool), none.astype(bool))


# Few distinct no-answer scores, so that there are ties.
questions = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["yes", "yes sir", "no"]), st.integers(-3, 3)),
    min_size=1,
    max_size=30,
)


def _columns(asked: list[tuple[bool, str, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each question scores with its answer where the gold answer is yes."""
    f1 = {"yes": 1.0, "yes sir": 2 / 3, "no": 0.0}
    values = np.array([f1[text] if answerable else 0.0 for answerable, text, _ in asked])
    odds = np.array([score for *_, score in asked], np.float64)
    return values, odds, np.array([answerable for answerable, *_ in asked])


@given(questions)
def test_every_point_is_what_the_scorer_says(asked: list[tuple[bool, str, int]]) -> None:
    """Oracle: the official report at each of the thresholds."""
    curve = threshold_curve(*_columns(asked))
    gold = {str(n): ("yes",) if answerable else () for n, (answerable, *_) in enumerate(asked)}
    predictions = {str(n): text for n, (_, text, _) in enumerate(asked)}
    odds = {str(n): float(score) for n, (*_, score) in enumerate(asked)}
    assert len(curve.thresholds) == len(set(odds.values())) + 1
    for threshold, score in zip(curve.thresholds, curve.scores, strict=True):
        report = squad_report(gold, predictions, no_answer_scores=odds, threshold=float(threshold))
        assert score == pytest.approx(report["f1"])


@given(questions.filter(lambda asked: any(answerable for answerable, *_ in asked)))
def test_precision_and_recall_as_the_official_loop(asked: list[tuple[bool, str, int]]) -> None:
    """Oracle: make_precision_recall_eval of the official SQuAD 2.0 scorer, as a loop."""
    values, odds, answerable = _columns(asked)
    order = sorted(range(len(asked)), key=lambda n: odds[n])
    precisions, recalls, average, found = [1.0], [0.0], 0.0, 0.0
    for place, n in enumerate(order):
        found += values[n] if answerable[n] else 0.0
        precision, recall = found / (place + 1), found / answerable.sum()
        if place == len(order) - 1 or odds[n] != odds[order[place + 1]]:
            average += precision * (recall - recalls[-1])
            precisions.append(precision)
            recalls.append(recall)
    curve = precision_recall(values, odds, answerable)
    assert curve.precision == pytest.approx(precisions)
    assert curve.recall == pytest.approx(recalls)
    assert curve.average_precision == pytest.approx(average)


@given(questions)
def test_auc_is_the_share_of_pairs_in_the_right_order(asked: list[tuple[bool, str, int]]) -> None:
    """Oracle: every pair of an unanswerable and an answerable question; equal ones count half."""
    _, odds, answerable = _columns(asked)
    pairs = [
        float(np.sign(high - low) / 2 + 0.5)
        for high in odds[~answerable]
        for low in odds[answerable]
    ]
    found = no_answer_auc(odds, answerable)
    assert found == (pytest.approx(np.mean(pairs)) if pairs else None)


def test_no_questions_make_no_curve() -> None:
    nothing = np.array([])
    with pytest.raises(ValueError, match="no questions"):
        threshold_curve(nothing, nothing, nothing.astype(np.bool_))


@pytest.mark.parametrize(
    ("abstained", "answerable", "too_much"),
    [
        (1.0, 0.5, True),
        (0.98, 0.06, True),
        (0.97, 0.5, False),
        # Of hardly any answerable questions a good reader abstains on nearly all.
        (1.0, 0.05, False),
    ],
)
def test_abstaining_on_nearly_everything(
    abstained: float, answerable: float, too_much: bool
) -> None:
    """Oracle: by hand."""
    assert abstains_too_much(abstained, answerable) is too_much
