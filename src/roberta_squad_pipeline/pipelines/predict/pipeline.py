"""The predict pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.predict.nodes import answer_file


def create_pipeline() -> Pipeline:
    """From a trained reader and a file of questions to a file of answers."""
    return Pipeline(
        [
            node(
                answer_file,
                [
                    "reader",
                    "predict_questions",
                    "params:predict",
                    "params:data.folder",
                    "params:distributed",
                    "params:run",
                ],
                None,
                name="answer_file",
                namespace="predict",
            )
        ]
    )
