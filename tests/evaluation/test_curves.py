"""Curves over the no-answer threshold, against the official scorer's own loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.evaluation.curves import (
    no_answer_auc,
    precision_recall,
    threshold_curve,
)
from roberta_squad_pipeline.evaluation.scoring import squad_report

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


def test_no_questions() -> None:
    nothing = np.array([])
    with pytest.raises(ValueError, match="no questions"):
        threshold_curve(nothing, nothing, nothing.astype(np.bool_))
