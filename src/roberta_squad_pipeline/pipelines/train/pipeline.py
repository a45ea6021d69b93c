"""The training pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.train.nodes import train_reader


def create_pipeline() -> Pipeline:
    """From features to a trained reader."""
    return Pipeline(
        [
            node(
                train_reader,
                [
                    "train_features",
                    "validation_features",
                    "dev_features",
                    "squad_files",
                    "params:data",
                    "params:model",
                    "params:training",
                    "params:distil",
                    "params:inference",
                    "params:distributed",
                    "params:run",
                    "teacher_logits",
                    "checkpoints",
                    "tracker",
                ],
                {
                    "reader": "reader",
                    "curve": "training_curve",
                    "trained_with": "trained_with",
                },
                name="train_reader",
                namespace="train",
                tags=["training", "tracked"],
            )
        ]
    )
