"""Named experiments: their settings, and the resolvers through which conf/ refers to them."""

import math
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig
from pydantic import Field

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.squad.config import Order
from roberta_squad_pipeline.strict import StrictModel


class Experiment(StrictModel):
    """One row of the table: what it is trained with, and what was reported for it."""

    updates: int = Field(gt=0)
    """Optimiser updates on SQuAD 2.0."""
    warmup_updates: int = Field(ge=0)
    """Of these, with a rising learning rate."""
    batch_size: int = Field(gt=0)
    """Windows per update."""
    accumulation: int = Field(gt=0)
    """Micro-batches per update on each of the 8 GPUs of the published runs."""
    lr: float = Field(gt=0)
    """Peak learning rate of the heads, for RoBERTa large."""
    layer_decay: float = Field(gt=0, le=1)
    """Factor from one layer's learning rate to that of the layer below it; 1 switches it off."""
    order: Order
    """Which of the two texts a window begins with."""
    reported: dict[str, float]
    """Metrics that were published for these settings, unrounded; empty where there are none."""


class Reference(StrictModel):
    """A score that others reported, without settings of ours."""

    name: str
    best_f1: float
    """In per cent."""


class Experiments(StrictModel):
    """The experiment table."""

    rows: dict[str, Experiment]
    """By name."""
    references: tuple[Reference, ...]
    """What stands below them, as reported only."""


def setting(name: str, *, _root_: DictConfig) -> Any:
    """`${setting:NAME}`: what the run's experiment says of NAME.

    Raises:
        InputError: There is no experiment of that name.
    """
    experiments, chosen = _root_["experiments"]["rows"], _root_["experiment"]
    if chosen not in experiments:
        close = get_close_matches(str(chosen), experiments, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise InputError(
            where="parameter experiment",
            got=repr(chosen),
            expected=f"one of {', '.join(experiments)}",
            remedy=f"{hint}An experiment of your own goes into "
            "conf/base/parameters_experiments.yml.",
        )
    return experiments[chosen][name]


def scaled_updates(updates: int, factor: float) -> int:
    """`${scaled_updates:N,FACTOR}`: so many times N updates, rounded; one of them stays."""
    return max(min(updates, 1), round(updates * factor))


def scaled_lr(lr: float, factor: float) -> float:
    """`${scaled_lr:LR,FACTOR}`: so many times LR."""
    return lr * factor


def unless(other: Any, value: Any) -> Any:
    """`${unless:OTHER,VALUE}`: VALUE, or null where OTHER is given."""
    return value if other is None else None


def sqrt_scaled(lr: float, reference_batch_size: int, batch_size: int) -> float:
    """`${sqrt_scaled:LR,REFERENCE,BATCH}`: the published series' rule from batch 32 to 48.

    The learning rate grows with the square root of the batch size: LR was found good for
    REFERENCE windows per update.
    """
    return lr * math.sqrt(batch_size / reference_batch_size)


RESOLVERS = {
    "setting": setting,
    "scaled_updates": scaled_updates,
    "scaled_lr": scaled_lr,
    "sqrt_scaled": sqrt_scaled,
    "unless": unless,
}
"""For Kedro's config loader."""
