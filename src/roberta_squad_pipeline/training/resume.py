"""Finds the checkpoints of a run: those with the same settings, data, code and libraries."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import write_text
from roberta_squad_pipeline.common.same_run import differences, digest, surroundings
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.validation import Validation

_ATTEMPT = "run.json"

_logger = logging.getLogger(__name__)


class Attempt(StrictModel):
    """The last run that used a folder of checkpoints."""

    settings: dict[str, Any]
    """Everything that the result depends on."""
    run_id: str | None
    """MLflow's id of the run, if it was tracked."""


def settings_of(
    reader: ReaderModel,
    features: Features,
    validation: Validation | None,
    model: ModelConfig,
    training: TrainingConfig,
) -> dict[str, Any]:
    """Collects everything that a trained reader's weights depend on, for `attempt_folder`.

    Args:
        reader: The reader before its first update.
        features: The training windows.
        validation: The questions for evaluations, if there are any. They count even if no weight
            depends on them, so that no curve mixes two sets of questions.
        model: The reader's settings.
        training: The recipe.
    """
    return surroundings() | {
        "model": model.model_dump(mode="json") | {"first_weights": first_weights(reader)},
        "training": training.recipe,
        "features": features.meta.model_dump(mode="json"),
        "validation": validation
        and {
            "features": validation.features.meta.model_dump(mode="json"),
            "inference": validation.inference.model_dump(mode="json"),
        },
    }


def first_weights(reader: ReaderModel) -> dict[str, str]:
    """Hashes the weights of encoder and heads before the first update.

    Readers with the same encoder may have different heads, which are drawn from the seed.
    """
    found = {"encoder": hashlib.sha256(), "heads": hashlib.sha256()}
    for name, tensor in sorted(reader.state_dict().items()):
        part = found["encoder" if name.startswith("encoder.") else "heads"]
        part.update(name.encode())
        # Waiting for the device costs nothing here: it has no other work yet.
        part.update(tensor.cpu().contiguous().numpy())
    return {name: part.hexdigest() for name, part in found.items()}


def attempt_folder(
    checkpoints: Path, settings: dict[str, Any], training: TrainingConfig, *, run_id: str | None
) -> tuple[Path, str | None]:
    """Finds or creates the folder for the checkpoints of these settings.

    Args:
        checkpoints: The folder for the run's name, with a folder for each of its settings.
        settings: See `settings_of`.
        training: Says whether a run may be continued.
        run_id: MLflow's id of this run.

    Returns:
        The folder, and MLflow's id of the run that is continued, if there is one.

    Raises:
        InputError: The folder cannot be written to.
    """
    folder = checkpoints / digest(settings)
    if training.resume == "never":
        shutil.rmtree(folder, ignore_errors=True)
    previous = _read(folder)
    if previous is None:
        _tell_of_others(checkpoints, settings)
    attempt = Attempt(settings=settings, run_id=run_id)
    try:
        write_text(folder / _ATTEMPT, attempt.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise InputError(
            where=str(folder),
            got=error.strerror or str(error),
            expected="a folder that can be written to",
            remedy="Make room or give the right to write there.",
        ) from error
    return folder, previous.run_id if previous else None


def remove_finished(checkpoints: Path, run_id: str) -> None:
    """Removes the checkpoints of a run whose reader is saved, but not those of other runs."""
    for folder in checkpoints.glob("*"):
        attempt = _read(folder)
        if attempt is not None and attempt.run_id == run_id:
            shutil.rmtree(folder)
    if checkpoints.is_dir() and not any(checkpoints.iterdir()):
        checkpoints.rmdir()


def _read(folder: Path) -> Attempt | None:
    try:
        return Attempt.model_validate_json((folder / _ATTEMPT).read_bytes())
    except (OSError, ValidationError):
        return None


def _tell_of_others(checkpoints: Path, settings: dict[str, Any]) -> None:
    for folder in sorted(checkpoints.glob("*")):
        other = _read(folder)
        if other is not None:
            changes = "; ".join(differences(other.settings, settings))
            _logger.warning(
                "%s holds checkpoints of other settings, data or code (%s). They are kept, and "
                "this run starts from the beginning.",
                folder,
                changes,
            )
