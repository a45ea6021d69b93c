"""Cross-fitted thresholds and intervals, against direct computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.evaluation.uncertainty import bootstrap_interval, cross_fitted_report
from roberta_squad_pipeline.squad.dataset import (
    GoldAnswer,
    Passage,
    Question,
    SquadDataset,
)


def _dataset(answerable: list[list[bool]]) -> SquadDataset:
    """Passages of questions named passage.question; the answer to each answerable one is yes."""
    passages = []
    for p, kinds in enumerate(answerable):
        questions = [
            Question(f"{p}.{q}", "?", (GoldAnswer("yes", 0),) if kind else ())
            for q, kind in enumerate(kinds)
        ]
        passages.append(Passage("yes", "", tuple(questions)))
    return SquadDataset(tuple(passages), 0)


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
def test_scores_against_thresholds_applied_by_the_scorer(
    answerable: list[list[bool]], random: np.random.RandomState
) -> None:
    """Oracle: the report at each half's threshold, put together question by question."""
    dataset = _dataset(answerable)
    predictions = {q.id: "yes" for q in dataset.questions}
    odds = {q.id: float(random.random()) for q in dataset.questions}
    report = cross_fitted_report(dataset, predictions, odds)
    ids = list(dataset.gold)
    applied = [-np.inf if t is None else t for t in report["exact_thresholds"]]
    possible = set()
    for threshold in applied:
        # Which half a question is in is the report's own business; its counts must fit one way.
        possible.add(tuple((odds[i] <= threshold) == bool(dataset.gold[i]) for i in ids))
    lowest = sum(all(row[n] for row in possible) for n in range(len(ids)))
    highest = sum(any(row[n] for row in possible) for n in range(len(ids)))
    assert 100 * lowest / len(ids) - 1e-9 <= report["exact"] <= 100 * highest / len(ids) + 1e-9
    assert report["total"] == len(ids)


def test_thresholds_come_from_the_other_half() -> None:
    """Oracle: by hand. Passage A wants a threshold of 1, passage B one of 5."""
    dataset = _dataset([[True, False], [True, False]])
    predictions = {q.id: "yes" for q in dataset.questions}
    odds = {"0.0": 1.0, "0.1": 3.0, "1.0": 5.0, "1.1": 7.0}
    report = cross_fitted_report(dataset, predictions, odds)
    assert sorted(report["exact_thresholds"]) == [1.0, 5.0]
    # At 5, both of A are answered: one right. At 1, both of B are abstained from: one right.
    assert report["exact"] == 50.0
    best = squad_report(dataset.gold, predictions, no_answer_scores=odds, threshold=0)
    assert report["best_exact"] == best["best_exact"] == 75.0


def test_one_passage_has_no_halves() -> None:
    dataset = _dataset([[True, False]])
    odds = {"0.0": 0.0, "0.1": 0.0}
    assert cross_fitted_report(dataset, {"0.0": "", "0.1": ""}, odds) == {
        "total": 2,
        "first_half": 0,
    }


def test_interval_of_a_proportion() -> None:
    """Oracle: the normal approximation of a binomial proportion, 1.96 standard errors."""
    values = np.repeat([0.0, 1.0], [300, 700])
    low, high = bootstrap_interval(values)
    error = 196 * np.sqrt(0.7 * 0.3 / 1000)
    assert low == pytest.approx(70 - error, abs=0.3)
    assert high == pytest.approx(70 + error, abs=0.3)


def test_interval_without_spread() -> None:
    assert bootstrap_interval(np.ones(10)) == [100.0, 100.0]


def test_all_that_is_reported_is_the_same_again() -> None:
    """Resamples and halves are drawn from a seed of their own."""
    dataset = _dataset([[True, False]] * 6)
    predictions = {q.id: "yes" for q in dataset.questions}
    odds = {q.id: float(n % 5) for n, q in enumerate(dataset.questions)}
    report = cross_fitted_report(dataset, predictions, odds)
    assert set(report) == {
        *("total", "first_half", "exact", "exact_interval", "exact_thresholds", "best_exact"),
        *("best_exact_interval", "f1", "f1_interval", "f1_thresholds", "best_f1"),
        "best_f1_interval",
    }
    assert cross_fitted_report(dataset, predictions, odds) == report


def test_where_abstaining_is_best_there_is_no_threshold() -> None:
    """All answers are wrong, so on either half it is best to give none, whatever the score."""
    dataset = _dataset([[False, False], [False, False]])
    predictions = {q.id: "yes" for q in dataset.questions}
    odds = dict.fromkeys(predictions, -3.0)
    report = cross_fitted_report(dataset, predictions, odds)
    assert report["exact_thresholds"] == report["f1_thresholds"] == [None, None]
    assert report["exact"] == report["best_exact"] == 100.0
