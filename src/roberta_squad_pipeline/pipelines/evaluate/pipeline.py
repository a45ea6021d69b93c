"""The evaluation pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.evaluate.nodes import score_predictions


def create_pipeline() -> Pipeline:
    """Predictions to scores."""
    return Pipeline(
        [
            node(
                score_predictions,
                ["squad_files", "params:data", "predictions", "null_odds"],
                "metrics",
                name="score_predictions",
                tags="tracked",
            )
        ]
    )
