"""What the figures draw."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED
from roberta_squad_pipeline.evaluation.report.figures import (
    calibration_figure,
    precision_recall_figure,
    slices_figure,
    training_figure,
)
from roberta_squad_pipeline.evaluation.report.scores import slices_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def _traces(figure: "Figure") -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def test_thresholds_are_marked_where_the_scores_say(
    drawn: "dict[str, Figure]", scored: dict[str, Any]
) -> None:
    """Oracle: the official report and the cross-fitted one."""
    metrics = scored["metrics"]
    traces = _traces(drawn["threshold"])
    assert max(traces["F1"].y) == pytest.approx(metrics["best_f1"], abs=1e-3)
    (star,) = (trace for name, trace in traces.items() if name.startswith("best F1"))
    assert (star.x[0], star.y[0]) == (metrics["best_f1_thresh"], metrics["best_f1"])
    assert set(traces["chosen, 0"].x) == {0.0, None}
    (fitted,) = (trace for name, trace in traces.items() if name.startswith("cross-fitted"))
    assert set(fitted.x) - {None} == set(scored["crossfit"]["f1_thresholds"])


def test_every_question_is_in_the_distribution(drawn: "dict[str, Figure]") -> None:
    counts = [int(np.sum(trace.y)) for trace in drawn["no_answer"].data if trace.type == "bar"]
    assert counts == [48, 24]


def test_rates_are_peaks_times_the_schedule(drawn: "dict[str, Figure]") -> None:
    """Oracle: by hand; the last update's rate is 0, which a logarithmic axis cannot show."""
    traces = _traces(drawn["training"])
    assert list(traces["heads"].y) == pytest.approx([1.5e-5, 3e-5, 1.5e-5])
    assert list(traces["embeddings"].y) == pytest.approx([0.5e-5, 1e-5, 0.5e-5])
    assert np.isnan(traces["loss"].y[1])
    assert np.isfinite(traces["mean"].y[[0, 2, 3]]).all()


def test_long_runs_of_many_layers_stay_small() -> None:
    """RoBERTa large: 26 layers, 5,430 updates."""
    updates = np.arange(1, 5431)
    curve = {
        "update": updates.tolist(),
        "loss": (3 / updates).tolist(),
        "lr_multiplier": np.minimum(updates / 326, 1).tolist(),
        "peak_rates": {f"block {n}": 3e-5 * 0.75**n for n in range(26)},
        "validation": {"update": []},
    }
    figure = training_figure(curve)
    assert len(figure.to_json()) < 100_000
    assert sum(trace.showlegend is not False for trace in figure.data) <= 8


def test_validation_scores_are_points_and_the_kept_update_is_marked(
    drawn: "dict[str, Figure]",
) -> None:
    """Oracle: the curve."""
    figure = drawn["training"]
    traces = _traces(figure)
    assert list(traces["best F1"].x) == [2, 4]
    assert list(traces["best F1"].y) == [55.0, 54.0]
    assert list(traces["F1, answerable, always answering"].y) == [10.0, 40.0]
    # Loss beside loss, and scores on an axis of their own.
    assert traces["validation loss"].yaxis == traces["loss"].yaxis
    assert len({traces[name].yaxis for name in ("loss", "best F1", "heads")}) == 3
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1) == (4, 4)


def test_every_figure_says_what_it_is(drawn: "dict[str, Figure]") -> None:
    for figure in [*drawn.values(), training_figure(None), calibration_figure(UNCALIBRATED)]:
        assert figure.layout.title.text
        assert len(figure.layout.meta["caption"]) > 20
        # Strict JSON: no NaN, which JSON does not have.
        json.loads(figure.to_json(), parse_constant=pytest.fail)


def test_one_kind_of_question_alone(scored: dict[str, Any]) -> None:
    """SQuAD 1.1 has no unanswerable questions, and a sample may have no answerable ones."""
    questions = scored["questions"]
    for kind in (True, False):
        some = questions[questions["answerable"] == kind]
        assert precision_recall_figure(some).layout.title.text
        assert slices_figure(slices_of(some)).data
