"""Cross-fitted thresholds and intervals, against direct computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from roberta_squad_pipeline.evaluation.scoring import QuestionScores, report_of
from roberta_squad_pipeline.evaluation.uncertainty import (
    cross_fitted_report,
    in_first_half,
    interval_of_mean,
)


def asked(answerable: list[list[bool]]) -> tuple[QuestionScores, np.ndarray]:
    """Questions of passages, all answered, rightly where there is an answer; and the passages."""
    kinds = np.concatenate([np.array(kinds, np.bool_) for kinds in answerable])
    right = kinds.astype(np.float64)
    scores = QuestionScores(
        tuple(map(str, range(len(kinds)))),
        exact=right,
        f1=right,
        answerable=kinds,
        answered=np.ones(len(kinds), np.bool_),
    )
    return scores, np.repeat(np.arange(len(answerable)), [len(kinds) for kinds in answerable])


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
def test_each_half_scores_at_the_other_half_s_threshold(
    answerable: list[list[bool]], random: np.random.RandomState
) -> None:
    """Oracle: the official threshold of each half, applied to the other by hand."""
    scores, passages = asked(answerable)
    odds = np.array([float(random.random()) for _ in scores.ids])
    report = cross_fitted_report(scores, odds, passages)
    first = in_first_half(passages)
    right = 0
    for half, threshold in zip((first, ~first), report["exact_thresholds"], strict=True):
        official = report_of(scores.of(~half), odds[~half], 0.0)
        abstain = 100 * np.mean(~scores.answerable[~half]) == pytest.approx(official["best_exact"])
        assert threshold == (None if abstain else official["best_exact_thresh"])
        answers = odds[half] <= (-np.inf if threshold is None else threshold)
        right += np.count_nonzero(answers == scores.answerable[half])
    assert report["exact"] == pytest.approx(100 * right / len(odds))
    assert report["total"] == len(odds)
    assert report["first_half"] == np.count_nonzero(first)


def test_thresholds_come_from_the_other_half() -> None:
    """Oracle: by hand. Passage A wants a threshold of 1, passage B one of 5."""
    scores, passages = asked([[True, False], [True, False]])
    odds = np.array([1.0, 3.0, 5.0, 7.0])
    report = cross_fitted_report(scores, odds, passages)
    assert sorted(report["exact_thresholds"]) == [1.0, 5.0]
    # At 5, both of A are answered: one right. At 1, both of B are abstained from: one right.
    assert report["exact"] == 50.0
    assert report["best_exact"] == report_of(scores, odds, 0.0)["best_exact"] == 75.0


def test_a_half_has_whole_passages_and_half_of_them() -> None:
    numbers = np.repeat(np.arange(7), [3, 1, 4, 1, 5, 9, 2])
    first = in_first_half(numbers)
    assert all(len(set(first[numbers == number])) == 1 for number in range(7))
    assert len(set(numbers[first])) == 3
    # Only who is together matters, not how passages are numbered.
    assert in_first_half(2 * numbers + 5).tolist() == first.tolist()


def test_one_passage_has_no_halves() -> None:
    scores, passages = asked([[True, False]])
    assert cross_fitted_report(scores, np.zeros(2), passages) == {"total": 2, "first_half": 0}


def test_interval_of_a_proportion() -> None:
    """Oracle: the normal approximation of a binomial proportion, 1.96 standard errors."""
    values = np.repeat([0.0, 1.0], [300, 700])
    low, high = interval_of_mean(values, np.arange(1000))
    error = 196 * np.sqrt(0.7 * 0.3 / 1000)
    assert low == pytest.approx(70 - error, abs=0.3)
    assert high == pytest.approx(70 + error, abs=0.3)


@pytest.mark.parametrize(("right", "asked"), [(5, 5), (0, 5), (8, 10), (1, 1)])
def test_interval_of_few_questions(right: int, asked: int) -> None:
    """Oracle: scipy's interval of Wilson's."""
    values = np.repeat([1.0, 0.0], [right, asked - right])
    expected = binomtest(right, asked).proportion_ci(method="wilson")
    found = interval_of_mean(values, np.arange(asked))
    assert found == pytest.approx([100 * expected.low, 100 * expected.high])


def proportion_of(mean: float, questions: float) -> tuple[float, float]:
    """Wilson's interval of a proportion, in per cent, by its quadratic equation."""
    a, b = 1 + 1.96**2 / questions, -(2 * mean + 1.96**2 / questions)
    low, high = sorted(np.roots([a, b, mean**2]).real)
    return 100 * low, 100 * high


def test_questions_of_one_passage_count_together() -> None:
    """Oracle: 200 passages that are right or wrong as wholes are 200 observations, nearly."""
    right = np.repeat([1.0, 0.0], [140, 60])
    low, high = interval_of_mean(np.repeat(right, 20), np.repeat(np.arange(200), 20))
    alone = interval_of_mean(right, np.arange(200))
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.06)


def test_few_passages_are_not_taken_for_independent_questions() -> None:
    """Oracle: Kish's effect of a correlation of 0.05, and Student's t, 16 degrees of freedom."""
    values = np.repeat([1.0, 0.0], [35, 15])
    low, high = interval_of_mean(values, np.zeros(50, int))
    effective = 50 / (1 + 49 * 0.05) * (1.96 / t(16).ppf(0.975)) ** 2
    expected = proportion_of(0.7, effective)
    assert (low, high) == pytest.approx(expected, abs=0.1)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30),
)
def test_an_interval_holds_the_mean_and_is_never_a_point(asked: list[tuple[float, int]]) -> None:
    values, passages = (np.array(column) for column in zip(*asked, strict=True))
    low, high = interval_of_mean(values, passages)
    assert 0 <= low <= 100 * values.mean() + 1e-9
    assert 100 * values.mean() - 1e-9 <= high <= 100
    assert high > low


def test_all_that_is_reported_is_the_same_again() -> None:
    """Resamples and halves are drawn from a seed of their own."""
    scores, passages = asked([[True, False]] * 6)
    odds = np.arange(12.0) % 5
    report = cross_fitted_report(scores, odds, passages)
    assert set(report) == {
        *("total", "first_half", "exact", "exact_interval", "exact_thresholds", "best_exact"),
        *("best_exact_interval", "f1", "f1_interval", "f1_thresholds", "best_f1"),
        "best_f1_interval",
    }
    assert cross_fitted_report(scores, odds, passages) == report


def test_where_abstaining_is_best_there_is_no_threshold() -> None:
    """All answers are wrong, so on either half it is best to give none, whatever the score."""
    scores, passages = asked([[False, False], [False, False]])
    report = cross_fitted_report(scores, np.full(4, -3.0), passages)
    assert report["exact_thresholds"] == report["f1_thresholds"] == [None, None]
    assert report["exact"] == report["best_exact"] == 100.0
