"""The pipeline for fairseq checkpoints."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.import_fairseq.nodes import import_checkpoint


def create_pipeline() -> Pipeline:
    """From a fairseq checkpoint to a reader or an encoder."""
    return Pipeline(
        [
            node(
                import_checkpoint,
                [
                    "params:checkpoint",
                    "params:model",
                    "params:features",
                    "params:inference",
                    "imported",
                ],
                None,
                name="import_checkpoint",
            )
        ]
    )
