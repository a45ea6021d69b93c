"""The features pipeline."""

from kedro.pipeline import Pipeline, node

from roberta_squad_pipeline.pipelines.features.nodes import (
    build_dev_features,
    build_train_features,
    build_validation_features,
)
from roberta_squad_pipeline.pipelines.validate.pipeline import admission_node, validation_node

_INPUTS = ["squad_files", "params:data", "params:features", "params:model"]


def create_pipeline() -> Pipeline:
    """From SQuAD files, once they are validated, to windows of tokens."""
    return Pipeline(
        [
            validation_node(),
            admission_node(),
            node(build_train_features, _INPUTS, "train_features", name="build_train_features"),
            node(
                build_validation_features,
                [*_INPUTS, "params:training"],
                "validation_features",
                name="build_validation_features",
            ),
            node(build_dev_features, _INPUTS, "dev_features", name="build_dev_features"),
        ],
        namespace="features",
        prefix_datasets_with_namespace=False,
        tags="data",
    )
