"""Checkpoints on disk: whole, checked by sha256, or not there.

A checkpoint is a folder update-NNNNNN with state.safetensors, records.json and, written last,
manifest.json; where the best weights are to be kept, they are in best.safetensors. Nothing in it is
unpickled. It needs no format version, since only the code that wrote it looks for it (`resume`).
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of, written_atomically
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.training.records import RECORDS, Record

KEPT = 2
"""How many checkpoints are kept: the newest, and another in case it is damaged."""

_STATE = "state.safetensors"
_BEST = "best.safetensors"
_RECORDS = "records.json"
_MANIFEST = "manifest.json"
_MICRO_BATCH = "micro_batch"
_PREFIX = "update-"

_logger = logging.getLogger(__name__)


class Manifest(StrictModel):
    """What a checkpoint holds."""

    update: int = Field(gt=0)
    """Updates made before it."""
    loss_scale: dict[str, int | float]
    split: str
    """How the last one was shared out to processes and threads, on which dropout depends."""
    files: dict[str, str]
    """The sha256 of each other file."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    path: Path
    manifest: Manifest
    records: list[Record]
    """Of all updates and evaluations before it."""

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimiser's state, by name, in the shapes they were saved in."""
        return load_file(self.path / _STATE)

    def best_weights(self) -> dict[str, Tensor]:
        """Weights of the best evaluation before it, by name, in their shapes; none if not kept."""
        path = self.path / _BEST
        return load_file(path) if path.exists() else {}


class Checkpoints:
    """The checkpoints of one run in a folder of its own.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # What a killed process was writing.
        for left in folder.glob(".*/"):
            shutil.rmtree(left)

    def save(
        self,
        update: int,
        tensors: dict[str, Tensor],
        loss_scale: dict[str, int | float],
        records: list[Record],
        *,
        split: str,
        best_weights: dict[str, Tensor] | None = None,
    ) -> Path:
        """Writes a checkpoint and removes all but the newest two.

        Args:
            update: Updates that were made.
            tensors: Weights and the optimiser's state, by name, on the CPU, of any shapes.
            loss_scale: The state of `LossScaler`.
            records: Of all updates and evaluations.
            split: How the last update was shared out to processes and threads.
            best_weights: Of the best evaluation, by name, on the CPU, if they are to be kept.

        Returns:
            Its folder.

        Raises:
            InputError: It cannot be written; the earlier ones are as they were.
        """
        path = self.folder / f"{_PREFIX}{update:06d}"
        try:
            with written_atomically(path) as temp:
                temp.mkdir()
                save_file(tensors, temp / _STATE)
                if best_weights:
                    save_file(best_weights, temp / _BEST)
                (temp / _RECORDS).write_bytes(RECORDS.dump_json(records))
                files = {file.name: sha256_of(file) for file in sorted(temp.iterdir())}
                manifest = Manifest(update=update, loss_scale=loss_scale, split=split, files=files)
                (temp / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
            for old in self._paths()[KEPT:]:
                shutil.rmtree(old)
        except (OSError, SafetensorError) as error:
            size = sum(
                tensor.nbytes for each in (tensors, best_weights or {}) for tensor in each.values()
            )
            kept = self.last()
            last = f"the same command goes on from {kept.name}" if kept else "start again"
            raise InputError(
                where=str(self.folder),
                got=getattr(error, "strerror", None) or str(error),
                expected=f"room for a checkpoint of {size / 1e6:,.0f} MB",
                remedy=f"Make room or give the right to write there; then {last}.",
            ) from error
        return path

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; warns of those that are not."""
        for path in self._paths():
            try:
                return _read(path)
            except (OSError, ValueError) as error:
                _logger.warning(
                    "%s: got a damaged checkpoint (%s); expected what its manifest says. Using "
                    "the one before it.",
                    path,
                    str(error).splitlines()[0],
                )
        return None

    def keep_micro_batch(self, windows: int) -> None:
        """Keeps a micro-batch that fits into memory, for runs that go on from here."""
        (self.folder / _MICRO_BATCH).write_text(str(windows))

    def micro_batch(self, wanted: int) -> int:
        """The wanted micro-batch, or the kept one if that is smaller."""
        kept = self.folder / _MICRO_BATCH
        return min(wanted, int(kept.read_text())) if kept.exists() else wanted

    def last(self) -> Path | None:
        """Folder of the newest checkpoint, unchecked."""
        return next(iter(self._paths()), None)

    def _paths(self) -> list[Path]:
        """Newest first."""
        found = self.folder.glob(f"{_PREFIX}*")
        return sorted(found, key=lambda path: (len(path.name), path.name), reverse=True)


def _read(path: Path) -> Checkpoint:
    try:
        manifest = Manifest.model_validate_json((path / _MANIFEST).read_bytes())
    except ValidationError as error:
        raise ValueError(f"{_MANIFEST}: {error.errors()[0]['msg']}") from error
    for name, expected in manifest.files.items():
        if sha256_of(path / name) != expected:
            raise ValueError(f"{name} has another sha256 than when it was written")
    return Checkpoint(path, manifest, RECORDS.validate_json((path / _RECORDS).read_bytes()))
