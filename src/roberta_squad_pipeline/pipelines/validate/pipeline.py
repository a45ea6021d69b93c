"""The validation pipeline."""

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.pipelines import stage
from roberta_squad_pipeline.pipelines.validate.nodes import (
    admit_squad_files,
    show_validation,
    validate_squad_files,
)

VALIDATION = stage(validate_squad_files, "validation", "validation_markdown", tags=["data"])
"""From files on disk to a report on them, which is also the first step towards features."""

ADMISSION = stage(admit_squad_files, "squad_files")
"""Passes the files on if features can be built from them."""


def create_pipeline() -> Pipeline:
    """From files on disk to a printed report on them."""
    return Pipeline([VALIDATION, stage(show_validation)])
