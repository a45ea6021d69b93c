"""The validation pipeline."""

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from roberta_squad_pipeline.pipelines.validate.nodes import (
    admit_squad_files,
    show_validation,
    validate_squad_files,
)


def validation_node() -> Node:
    """From files on disk to a report on them, which is also the first step towards features."""
    return node(
        validate_squad_files,
        ["fetched_files", "params:data", "params:features", "params:model", "params:inference"],
        {"report": "validation", "markdown": "validation_markdown"},
        name="validate_squad_files",
        tags="data",
    )


def admission_node() -> Node:
    """Passes the files on if features can be built from them."""
    return node(
        admit_squad_files,
        ["fetched_files", "validation", "validation_folder"],
        "squad_files",
        name="admit_squad_files",
    )


def create_pipeline() -> Pipeline:
    """From files on disk to a printed report on them."""
    return Pipeline(
        [
            validation_node(),
            node(
                show_validation,
                ["validation", "validation_markdown", "validation_folder"],
                None,
                name="show_validation",
            ),
        ]
    )
