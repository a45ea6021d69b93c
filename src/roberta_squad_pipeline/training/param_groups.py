"""Which parameter learns at which rate."""

import re
from collections import defaultdict
from typing import Any

from torch import nn

from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig

_BLOCK = re.compile(r"^encoder\.(?:.+\.)?layers?\.(\d+)\.")
_EMBEDDINGS = re.compile(r"^encoder\.embeddings")
_HEADS = re.compile(r"^(span_head|answerability_head)\.")
_NO_WEIGHT_DECAY = ", no weight decay"


def build_param_groups(reader: ReaderModel, config: TrainingConfig) -> list[dict[str, Any]]:
    """Sorts all trainable parameters into groups for the optimiser.

    The heads learn at lr, block i of n (from 0) at lr · layer_decay^(n - i), the embeddings at
    lr · layer_decay^n. Weight decay falls on matrices alone, not on biases and LayerNorm.

    Returns:
        Groups with `params`, `lr`, `initial_lr` (the peak), `weight_decay` and `name`, from the
        embeddings up to the heads.

    Raises:
        ValueError: A parameter belongs to none of embeddings, blocks and heads.
    """
    trainable = {name: p for name, p in reader.named_parameters() if p.requires_grad}
    height = {name: _height(name) for name in trainable}
    blocks = max((h for h in height.values() if h is not None), default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in trainable.items():
        rank = height[name]
        groups[blocks + 1 if rank is None else rank, parameter.ndim > 1].append(parameter)
    return [
        {
            "name": f"{_label(rank, blocks)}{'' if decays else _NO_WEIGHT_DECAY}",
            "params": parameters,
            "lr": _peak(rank, blocks, config),
            "initial_lr": _peak(rank, blocks, config),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (rank, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def peak_learning_rates(reader: ReaderModel, config: TrainingConfig) -> dict[str, float]:
    """The peak learning rate of each layer, from the embeddings up to the heads.

    Raises:
        ValueError: See `build_param_groups`.
    """
    return {
        group["name"].removesuffix(_NO_WEIGHT_DECAY): group["initial_lr"]
        for group in build_param_groups(reader, config)
    }


def _height(name: str) -> int | None:
    """0 for embeddings, i + 1 for block i, None for the heads, which are above all blocks."""
    if _HEADS.match(name):
        return None
    if block := _BLOCK.match(name):
        return int(block[1]) + 1
    if _EMBEDDINGS.match(name):
        return 0
    raise ValueError(
        f"parameter {name}: expected it in the embeddings, a numbered layer or a head; "
        "layer-wise learning rates are not defined for this kind of encoder"
    )


def _peak(rank: int, blocks: int, config: TrainingConfig) -> float:
    below_heads = blocks + 1 - max(rank, 1)
    return config.lr * config.layer_decay**below_heads


def _label(rank: int, blocks: int) -> str:
    if rank == 0:
        return "embeddings"
    return "heads" if rank > blocks else f"block {rank - 1}"
