"""The inference pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.inference.nodes import predict_answers

_PREDICTED = ("predictions", "no_answer_logits", "nbest", "answered_with")


def create_pipeline() -> Pipeline:
    """From a trained reader and dev features to predictions."""
    return Pipeline(
        [
            node(
                predict_answers,
                [
                    "reader",
                    "dev_features",
                    "squad_files",
                    "params:data",
                    "params:inference",
                    "params:distributed",
                    "params:run",
                    "params:reader",
                    "params:calibrate",
                ],
                {name: name for name in _PREDICTED},
                name="predict_answers",
                namespace="inference",
                tags=["evaluation", "tracked"],
            )
        ]
    )
