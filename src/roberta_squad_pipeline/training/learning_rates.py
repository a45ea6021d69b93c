"""Who learns at which rate, and when: layer-wise peaks, warm-up and decay."""

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from roberta_squad_pipeline.reader.families import family_of
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig

_HEADS = ("span_head.", "answerability_head.")


def lr_multiplier(update: int, config: TrainingConfig) -> float:
    """The share of the peak learning rate at an update.

    It rises linearly from 0 at update 0, before training, to 1 at the last update of the warm-up,
    and falls as a power to 0 at the last update.

    Args:
        update: Counted from 1; 0 is the state before training.
        config: The recipe.
    """
    if update < config.warmup_updates:
        return update / config.warmup_updates
    if config.updates == config.warmup_updates:
        return 1.0
    left = (config.updates - update) / (config.updates - config.warmup_updates)
    return float(left**config.decay_power)


def build_optimizer(reader: ReaderModel, config: TrainingConfig) -> torch.optim.AdamW:
    """Adam with decoupled weight decay, with a learning rate per layer."""
    return torch.optim.AdamW(
        build_param_groups(reader, config), betas=config.betas, eps=config.eps, fused=True
    )


def set_learning_rates(
    optimizer: torch.optim.Optimizer, update: int, config: TrainingConfig
) -> None:
    """Sets each group's learning rate to its own peak times the schedule's multiplier.

    A single rate for all groups would undo the layer-wise decay.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * lr_multiplier(update, config)


def layer_parameters(reader: ReaderModel) -> int:
    """Counts the parameters in the blocks of a reader's encoder, without embeddings.

    Raises:
        InputError: See `build_param_groups`.
    """
    parameters = dict(reader.encoder.named_parameters())
    layer_depths = family_of(reader.encoder.config).layer_depths(parameters)
    return sum(parameters[name].numel() for name, depth in layer_depths.items() if depth > 0)


def build_param_groups(reader: ReaderModel, config: TrainingConfig) -> list[dict[str, Any]]:
    """Sorts all trainable parameters into groups for the optimiser.

    The learning rate is lr for the heads, lr · layer_decay^(n - i) for block i of n (from 0), and
    lr · layer_decay^n for the embeddings. A parameter that changes a block's output belongs to that
    block. Only matrices have weight decay, not biases and LayerNorm.

    Returns:
        Groups with `params`, `lr`, `initial_lr` (the peak), `weight_decay` and the layer's `name`,
        from the embeddings up to the heads; most layers have one with and one without weight decay.

    Raises:
        InputError: The encoder has a parameter that is unknown in its family.
    """
    family = family_of(reader.encoder.config)
    of_encoder = family.layer_depths(name for name, _ in reader.encoder.named_parameters())
    layer_depths = {f"encoder.{name}": depth for name, depth in of_encoder.items()}
    blocks = max(layer_depths.values())
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in reader.named_parameters():
        if parameter.requires_grad:
            depth = blocks + 1 if name.startswith(_HEADS) else layer_depths[name]
            groups[depth, parameter.ndim > 1].append(parameter)
    return [
        {
            "name": _label(depth, blocks),
            "params": parameters,
            "lr": _peak(depth, blocks, config),
            "initial_lr": _peak(depth, blocks, config),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def peak_learning_rates(reader: ReaderModel, config: TrainingConfig) -> dict[str, float]:
    """The peak learning rate of each layer, from the embeddings up to the heads.

    Raises:
        InputError: See `build_param_groups`.
    """
    return {group["name"]: group["initial_lr"] for group in build_param_groups(reader, config)}


def _peak(depth: int, blocks: int, config: TrainingConfig) -> float:
    below_heads = blocks + 1 - max(depth, 1)
    return config.lr * config.layer_decay**below_heads


def _label(depth: int, blocks: int) -> str:
    if depth == 0:
        return "embeddings"
    return "heads" if depth > blocks else f"block {depth - 1}"
