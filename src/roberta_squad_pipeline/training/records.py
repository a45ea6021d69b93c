"""What each update did, as it is told, logged and kept."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """What one update did."""

    update: int
    """Counted from 1."""
    loss: float
    """Mean over the update's windows."""
    lr_highest: float
    """Learning rate of the heads."""
    lr_lowest: float
    """Learning rate of the embeddings."""
    windows: int
    loss_scale: float
    """1 unless precision is fp16."""
    seconds: float
    """Wall time of the update."""


def write_records(records: Iterable[UpdateRecord], path: Path) -> None:
    """Writes one JSON object a line; numbers are read back as they were, bit by bit."""
    path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))


def read_records(path: Path) -> list[UpdateRecord]:
    """Reads what `write_records` wrote."""
    return [UpdateRecord(**json.loads(line)) for line in path.read_text().splitlines()]
