"""The features pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.features.nodes import (
    build_dev_features,
    build_train_features,
    build_validation_features,
)
from roberta_squad_pipeline.pipelines.validate.pipeline import ADMISSION, VALIDATION


def create_pipeline() -> Pipeline:
    """From SQuAD files, once they are validated, to windows of tokens."""
    return Pipeline(
        [
            VALIDATION,
            ADMISSION,
            stage(build_train_features, "train_features"),
            stage(build_validation_features, "validation_features"),
            stage(build_dev_features, "dev_features"),
        ],
        namespace="features",
        prefix_datasets_with_namespace=False,
        tags="data",
    )
