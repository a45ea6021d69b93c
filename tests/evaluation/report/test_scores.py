"""The figures of the report's table."""

from typing import Any

import numpy as np

from roberta_squad_pipeline.evaluation.report.scores import (
    cross_fitted_scores,
    official_scores,
    slices_of,
)
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean


def test_all_figures_in_their_order_and_means_with_intervals(scored: dict[str, Any]) -> None:
    """Oracle: the official report, and the interval of the scores themselves."""
    questions, metrics, crossfit = (scored[k] for k in ("questions", "metrics", "crossfit"))
    scores = official_scores(questions, metrics, crossfit)
    assert [(score.name, score.value) for score in scores] == list(metrics.items())
    intervals = {score.name: score.interval for score in scores}
    for name, interval in intervals.items():
        if name.endswith(("total", "thresh")):
            assert interval is None
        else:
            assert interval is not None, name
            assert interval[0] <= metrics[name] <= interval[1]
    asked = questions[questions["answerable"]]
    f1, passages = asked["scored_f1"].to_numpy(), asked["passage_number"].to_numpy()
    assert intervals["HasAns_f1"] == interval_of_mean(f1, passages)
    fitted = {score.name: score.value for score in cross_fitted_scores(crossfit)}
    assert fitted == {"cross-fitted exact": crossfit["exact"], "cross-fitted f1": crossfit["f1"]}


def test_no_halves_no_cross_fitted_scores() -> None:
    assert cross_fitted_scores({"total": 2, "first_half": 0}) == []


def test_slices_share_out_the_questions(scored: dict[str, Any]) -> None:
    """Oracle: the mean over all questions; by hand, see ASKED."""
    questions = scored["questions"]
    slices = slices_of(questions)
    for groups in slices.values():
        assert sum(group.count for group in groups) == len(questions)
        total = sum(group.count * group.f1 for group in groups)
        assert np.isclose(total / len(questions), scored["metrics"]["f1"])
        assert all(group.interval[0] <= group.f1 <= group.interval[1] for group in groups)
    names = {title: [group.name for group in groups] for title, groups in slices.items()}
    assert names["answer length"] == ["1 word", "2 words", "3 words", "no answer"]
    assert names["number of windows"] == [
        *("1 window", "2 windows", "3 windows"),
        "4 windows or more",
    ]
    assert set(names["question word"]) == {"who", "when", "which", "how many", "why", "other"}
    assert names["passage length"] == ["1 to 49 words"]
