"""What a finished run keeps of its updates, to be drawn later."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.records import UpdateRecord
from roberta_squad_pipeline.training.schedule import lr_multiplier


def training_curve(
    records: Sequence[UpdateRecord], peak_rates: Mapping[str, float], config: TrainingConfig
) -> dict[str, Any]:
    """The loss and the learning rates of a run.

    A layer's learning rate at an update is its peak times the update's multiplier, so that neither
    is stored as often as the other is long.

    Args:
        records: Of all updates.
        peak_rates: By layer, from the embeddings up.
        config: The recipe.

    Returns:
        `update` (from 1), `loss` (None where fp16 overflowed) and `lr_multiplier`, each with one
        entry an update, and `peak_rates`.
    """
    return {
        "update": [record.update for record in records],
        "loss": [record.loss if math.isfinite(record.loss) else None for record in records],
        "lr_multiplier": [
            lr_multiplier(
                record.update,
                updates=config.updates,
                warmup_updates=config.warmup_updates,
                power=config.decay_power,
            )
            for record in records
        ],
        "peak_rates": dict(peak_rates),
    }
