"""The evaluation pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.evaluate.nodes import (
    cross_fit_threshold,
    evaluate_reader,
    score_predictions,
)

_INPUTS = ["squad_files", "params:data", "predictions", "null_odds"]


def create_pipeline() -> Pipeline:
    """Predictions to scores."""
    return Pipeline(
        [
            node(score_predictions, _INPUTS, "metrics", name="score_predictions", tags="tracked"),
            node(
                cross_fit_threshold,
                _INPUTS,
                "metrics_crossfit",
                name="cross_fit_threshold",
                tags="tracked",
            ),
            node(
                evaluate_reader,
                [
                    "squad_files",
                    "params:data",
                    "params:inference",
                    "predictions",
                    "null_odds",
                    "nbest",
                    "metrics",
                    "metrics_crossfit",
                ],
                "evaluation",
                name="evaluate_reader",
                tags="tracked",
            ),
        ]
    )
