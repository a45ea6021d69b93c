"""Which parameter learns at which rate."""

from collections import defaultdict
from typing import Any

from torch import nn

from roberta_squad_pipeline.reader.families import family_of
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig

_HEADS = ("span_head.", "answerability_head.")
_NO_WEIGHT_DECAY = ", no weight decay"


def layer_parameters(reader: ReaderModel) -> int:
    """How many parameters the blocks of a reader's encoder have, embeddings left out.

    Raises:
        InputError: See `build_param_groups`.
    """
    parameters = dict(reader.encoder.named_parameters())
    heights = family_of(reader.encoder.config).heights(parameters)
    return sum(parameters[name].numel() for name, height in heights.items() if height > 0)


def build_param_groups(reader: ReaderModel, config: TrainingConfig) -> list[dict[str, Any]]:
    """Sorts all trainable parameters into groups for the optimiser.

    The heads learn at lr, block i of n (from 0) at lr · layer_decay^(n - i), the embeddings at
    lr · layer_decay^n; what changes a block's output learns like that block. Weight decay falls on
    matrices alone, not on biases and LayerNorm.

    Returns:
        Groups with `params`, `lr`, `initial_lr` (the peak), `weight_decay` and `name`, from the
        embeddings up to the heads.

    Raises:
        InputError: The encoder has a parameter that its family does not know.
    """
    family = family_of(reader.encoder.config)
    of_encoder = family.heights(name for name, _ in reader.encoder.named_parameters())
    heights = {f"encoder.{name}": height for name, height in of_encoder.items()}
    blocks = max(heights.values())
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in reader.named_parameters():
        if parameter.requires_grad:
            height = blocks + 1 if name.startswith(_HEADS) else heights[name]
            groups[height, parameter.ndim > 1].append(parameter)
    return [
        {
            "name": f"{_label(height, blocks)}{'' if decays else _NO_WEIGHT_DECAY}",
            "params": parameters,
            "lr": _peak(height, blocks, config),
            "initial_lr": _peak(height, blocks, config),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (height, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def peak_learning_rates(reader: ReaderModel, config: TrainingConfig) -> dict[str, float]:
    """The peak learning rate of each layer, from the embeddings up to the heads.

    Raises:
        InputError: See `build_param_groups`.
    """
    return {
        group["name"].removesuffix(_NO_WEIGHT_DECAY): group["initial_lr"]
        for group in build_param_groups(reader, config)
    }


def _peak(height: int, blocks: int, config: TrainingConfig) -> float:
    below_heads = blocks + 1 - max(height, 1)
    return config.lr * config.layer_decay**below_heads


def _label(height: int, blocks: int) -> str:
    if height == 0:
        return "embeddings"
    return "heads" if height > blocks else f"block {height - 1}"
