"""The pipeline that exports to ONNX."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.export_onnx.nodes import export_reader


def create_pipeline() -> Pipeline:
    """From a trained reader and dev features to an ONNX model that was checked on them."""
    return Pipeline(
        [
            node(
                export_reader,
                [
                    "reader",
                    "dev_features",
                    "squad_files",
                    "params:export",
                    "onnx_folder",
                ],
                None,
                name="export_reader",
            )
        ]
    )
