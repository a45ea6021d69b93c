"""The search for the best threshold.

Oracle: every cut tried one by one. Scores are eighths, so that sums are exact and equal ones equal.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.evaluation.thresholds import (
    BestThreshold,
    abstains_too_much,
    best_threshold,
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


def searched(rows: list[Row]) -> BestThreshold:
    scores, odds, answerable, answered = (np.array(column) for column in zip(*rows, strict=True))
    return best_threshold(
        scores / 8, odds.astype(np.float64), answerable=answerable, answered=answered
    )


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
        assert best.threshold == 0.0
    else:
        assert best.threshold == next(cut for cut in outcome_of if outcome_of[cut] == highest)


@given(rows_with_ties)
def test_ties_are_taken_one_by_one_in_the_given_order(rows: list[Row]) -> None:
    order = sorted(range(len(rows)), key=lambda n: rows[n][1])
    best, threshold, answers = mean_score(rows, set()), 0.0, 0
    for count, n in enumerate(order, start=1):
        outcome = mean_score(rows, set(order[:count]))
        if outcome > best:
            best, threshold, answers = outcome, float(rows[n][1]), count
    assert searched(rows) == BestThreshold(best, threshold, answers)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Worked out by hand. Nothing to gain: abstain, at threshold 0 even if scores lie below.
        ([(0, -5, False, True)], BestThreshold(100.0, 0.0, 0)),
        # One right answer; the threshold is its own score, since only higher ones abstain.
        ([(8, -5, True, True), (0, 2, False, True)], BestThreshold(100.0, -5.0, 1)),
        # Leaving an unanswerable one empty costs nothing and gains nothing.
        ([(0, -7, False, False), (8, -5, True, True)], BestThreshold(100.0, -5.0, 2)),
        # A tie: the first order promises 100 %, though no threshold parts the two questions.
        ([(8, 1, True, True), (0, 1, False, True)], BestThreshold(100.0, 1.0, 1)),
        ([(0, 1, False, True), (8, 1, True, True)], BestThreshold(50.0, 0.0, 0)),
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
    threshold, answers = 0.0, 0
    for n, gain in enumerate(gains):
        total += gain
        if total > best:
            best, threshold, answers = total, float(n + 1), n + 1
    found = best_threshold(
        np.maximum(gains, 0.0),
        np.arange(1.0, len(gains) + 1),
        answerable=answerable,
        answered=np.ones(len(gains), dtype=bool),
    )
    assert found == BestThreshold(100.0 * best / len(gains), threshold, answers)


def test_no_questions() -> None:
    none = np.zeros(0)
    with pytest.raises(ValueError, match="no questions"):
        best_threshold(none, none, answerable=none.astype(bool), answered=none.astype(bool))


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
