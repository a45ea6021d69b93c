"""Validates the run's SQuAD files."""

import logging
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.pipelines import SquadFiles
from roberta_squad_pipeline.reader.config import InferenceParameters, ModelConfig
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.tracking.fetching import tokenizer_of
from roberta_squad_pipeline.validation.report import (
    ValidationReport,
    stopping,
    summary,
    to_markdown,
)

if TYPE_CHECKING:
    from roberta_squad_pipeline.validation.tokens import TokenLimits

MARKDOWN_FILE = "validation.md"

_logger = logging.getLogger(__name__)


def validate_squad_files(
    fetched_files: SquadFiles,
    data: DataConfig,
    windows: WindowConfig,
    model: ModelConfig,
    inference: InferenceParameters,
) -> dict[str, Any]:
    """Looks for everything that is wrong or odd in the files; nothing is an error here.

    Returns:
        `validation`, a `ValidationReport`, and `validation_markdown`, the same as a text.
    """
    from roberta_squad_pipeline.validation.check import validate_files

    report = validate_files(
        {split: Path(file["path"]) for split, file in fetched_files.items()},
        on_misaligned=data.on_misaligned,
        limits=token_limits(model, windows, inference.max_answer_tokens),
    )
    return {
        "validation": report.model_dump(mode="json"),
        "validation_markdown": to_markdown(report),
    }


def show_validation(
    validation: dict[str, Any], validation_markdown: str, validation_folder: Path
) -> None:
    """Prints the report.

    Raises:
        InputError: Features cannot be built from these files.
    """
    click.echo(validation_markdown)
    _reject_unfit(ValidationReport.model_validate(validation), validation_folder)


def admit_squad_files(
    fetched_files: SquadFiles, validation: dict[str, Any], validation_folder: Path
) -> SquadFiles:
    """Passes on the files if features can be built from them, and logs what is odd in each.

    Raises:
        InputError: Features cannot be built from one of them.
    """
    validated = ValidationReport.model_validate(validation)
    _reject_unfit(validated, validation_folder)
    for split, file in validated.files.items():
        if file.findings:
            _logger.warning(
                "%s: %s (%s)", split, summary(file.findings), validation_folder / MARKDOWN_FILE
            )
    return fetched_files


def _reject_unfit(report: ValidationReport, folder: Path) -> None:
    unfit = list(stopping(report))
    if unfit:
        first = unfit[0].places[0]
        raise InputError(
            where=first.where,
            got=first.got,
            expected=first.expected,
            remedy=f"{unfit[0].remedy} In all: {summary(unfit)}; places in "
            f"{folder / MARKDOWN_FILE}.",
        )


def token_limits(
    model: ModelConfig, windows: WindowConfig, max_answer_tokens: int
) -> "TokenLimits":
    """Makes limits that load their tokenizer once a text has to be tokenised.

    Args:
        model: The encoder or reader with the tokenizer.
        windows: How passages are cut.
        max_answer_tokens: The most tokens that a predicted answer may have.
    """
    from roberta_squad_pipeline.validation.tokens import TokenLimits

    return TokenLimits(cache(partial(tokenizer_of, model, windows)), windows, max_answer_tokens)
