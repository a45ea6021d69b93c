"""Which parameter learns at which rate.

Oracle: the names that transformers gives to an encoder's parameters, and the recipe's formulas.
"""

import pytest
import torch
from torch import nn

from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.param_groups import build_param_groups

PEAKS = {
    # Two blocks: the heads at lr, block i of n at lr · d^(n - i), the embeddings at lr · d^n.
    "encoder.embeddings.": 2,
    "encoder.encoder.layer.0.": 2,
    "encoder.encoder.layer.1.": 1,
    "span_head.": 0,
    "answerability_head.": 0,
}


def changed(config: TrainingConfig, **changes: object) -> TrainingConfig:
    return TrainingConfig(**{**config.model_dump(), **changes})


def of_parameter(reader: ReaderModel, config: TrainingConfig, key: str) -> dict[str, float]:
    """A group's value for each of its parameters, by name."""
    names = {id(parameter): name for name, parameter in reader.named_parameters()}
    return {
        names[id(parameter)]: group[key]
        for group in build_param_groups(reader, config)
        for parameter in group["params"]
    }


@pytest.mark.parametrize("decay", [0.75, 1.0])
@pytest.mark.parametrize("key", ["lr", "initial_lr"])
def test_peaks_are_layer_wise(
    tiny_reader: ReaderModel, recipe: TrainingConfig, decay: float, key: str
) -> None:
    peaks = of_parameter(tiny_reader, changed(recipe, layer_decay=decay), key)
    for name, peak in peaks.items():
        (exponent,) = (exponent for start, exponent in PEAKS.items() if name.startswith(start))
        assert peak == pytest.approx(recipe.lr * decay**exponent, rel=1e-12), name


def test_every_parameter_is_in_one_group(tiny_reader: ReaderModel, recipe: TrainingConfig) -> None:
    grouped = [
        parameter
        for group in build_param_groups(tiny_reader, recipe)
        for parameter in group["params"]
    ]
    assert len(grouped) == len(list(tiny_reader.parameters()))
    assert set(map(id, grouped)) == set(map(id, tiny_reader.parameters()))


def test_biases_and_layer_norms_do_not_decay(
    tiny_reader: ReaderModel, recipe: TrainingConfig
) -> None:
    """Told by name, where the code looks at the shape."""
    decays = of_parameter(tiny_reader, recipe, "weight_decay")
    free = {name for name in decays if name.endswith(".bias") or ".LayerNorm." in name}
    assert len(free) > 20
    assert decays == {name: 0.0 if name in free else 0.01 for name in decays}


def test_groups_go_up_from_the_embeddings_to_the_heads(
    tiny_reader: ReaderModel, recipe: TrainingConfig
) -> None:
    names = [group["name"] for group in build_param_groups(tiny_reader, recipe)]
    parts = ["embeddings", "block 0", "block 1", "heads"]
    assert names == [f"{part}{tail}" for part in parts for tail in (", no weight decay", "")]


def test_frozen_parameters_are_left_out(tiny_reader: ReaderModel, recipe: TrainingConfig) -> None:
    tiny_reader.encoder.embeddings.requires_grad_(False)
    assert not [name for name in of_parameter(tiny_reader, recipe, "lr") if "embeddings" in name]


@pytest.mark.parametrize("place", ["encoder", ""])
def test_unknown_parameter_is_named(
    tiny_reader: ReaderModel, recipe: TrainingConfig, place: str
) -> None:
    """A silent default for it would cost a run."""
    module = tiny_reader.get_submodule(place)
    module.register_parameter("relative_bias", nn.Parameter(torch.zeros(2, 2)))
    with pytest.raises(ValueError, match=r"relative_bias: expected it in the embeddings"):
        build_param_groups(tiny_reader, recipe)


def test_twenty_four_blocks(recipe: TrainingConfig) -> None:
    """RoBERTa large: 0.75^24 ≈ 0.001 on the embeddings; blocks are numbers, not letters."""

    class Part(nn.Module):
        def __init__(self, **parts: nn.Module) -> None:
            super().__init__()
            for name, part in parts.items():
                self.add_module(name, part)

    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(24))
    encoder = Part(embeddings=nn.Embedding(3, 2), encoder=Part(layer=layers))
    reader = Part(encoder=encoder, span_head=nn.Linear(2, 2), answerability_head=nn.Linear(2, 1))
    peaks = of_parameter(reader, recipe, "lr")
    assert peaks["encoder.embeddings.weight"] == pytest.approx(recipe.lr * 0.75**24)
    for block in range(24):
        name = f"encoder.encoder.layer.{block}.weight"
        assert peaks[name] == pytest.approx(recipe.lr * 0.75 ** (24 - block))
    assert peaks["span_head.weight"] == recipe.lr
