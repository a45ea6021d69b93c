"""The ensemble pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.ensemble.nodes import combine_readers


def create_pipeline() -> Pipeline:
    """Finished runs to one reader."""
    return Pipeline(
        [
            node(
                combine_readers,
                [
                    "readers",
                    "validation_features",
                    "dev_features",
                    "params:ensemble",
                    "params:data",
                    "params:inference",
                    "params:run",
                ],
                "reader",
                name="combine_readers",
                tags="tracked",
                namespace="ensemble",
            )
        ]
    )
