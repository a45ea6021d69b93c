"""Which parameter learns at which rate, and when.

Oracles: the names that transformers gives to an encoder's parameters, and the recipe's formulas;
points of the schedule worked out by hand, in fractions, and its laws.
"""

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.families import FAMILIES
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.learning_rates import build_param_groups, lr_multiplier

PEAKS = {
    # Two blocks: the heads at lr, block i of n at lr · d^(n - i), the embeddings at lr · d^n.
    "encoder.embeddings.": 2,
    "encoder.encoder.layer.0.": 2,
    "encoder.encoder.layer.1.": 1,
    "span_head.": 0,
    "answerability_head.": 0,
}

WORDS_AND_POSITIONS = [
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
]
TYPES = "embeddings.token_type_embeddings.weight"
BERT = {"blocks": "encoder.layer.", "embeddings": [*WORDS_AND_POSITIONS, TYPES]}
RELATIVE_POSITIONS = [
    "embeddings.word_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
    "encoder.rel_embeddings.weight",
]

# For each family with three blocks: what the blocks' parameters begin with, and each parameter
# that is in none, by the part with which it is to learn.
TABLES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("roberta", {}, BERT),
    ("xlm-roberta", {}, BERT),
    ("camembert", {}, BERT),
    ("bert", {}, BERT),
    (
        "ernie",
        {"use_task_id": True},
        {
            "blocks": "encoder.layer.",
            "embeddings": [
                *WORDS_AND_POSITIONS,
                TYPES,
                "embeddings.task_type_embeddings.weight",
            ],
        },
    ),
    (
        "electra",
        {"embedding_size": 8},
        {
            "blocks": "encoder.layer.",
            "embeddings": [
                *WORDS_AND_POSITIONS,
                TYPES,
                "embeddings_project.weight",
                "embeddings_project.bias",
            ],
        },
    ),
    # As wide as its layers, such as ELECTRA large: nothing to project.
    ("electra", {"embedding_size": 16}, BERT),
    # DeBERTa-v3.
    (
        "deberta-v2",
        {
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": "p2c|c2p",
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        {
            "blocks": "encoder.layer.",
            "embeddings": [
                *RELATIVE_POSITIONS,
                "encoder.LayerNorm.weight",
                "encoder.LayerNorm.bias",
            ],
        },
    ),
    # The larger of DeBERTa-v2, whose convolution works on the first block's output.
    (
        "deberta-v2",
        {
            "relative_attention": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
        },
        {
            "blocks": "encoder.layer.",
            "embeddings": RELATIVE_POSITIONS,
            "block 0": [
                "encoder.conv.conv.weight",
                "encoder.conv.conv.bias",
                "encoder.conv.LayerNorm.weight",
                "encoder.conv.LayerNorm.bias",
            ],
        },
    ),
    (
        "deberta",
        {"relative_attention": True, "position_biased_input": False, "type_vocab_size": 0},
        {"blocks": "encoder.layer.", "embeddings": RELATIVE_POSITIONS},
    ),
    # No biases, not even in its LayerNorm.
    (
        "modernbert",
        {},
        {
            "blocks": "layers.",
            "embeddings": ["embeddings.tok_embeddings.weight", "embeddings.norm.weight"],
            "block 2": ["final_norm.weight"],
        },
    ),
    (
        "xlm-roberta-xl",
        {"type_vocab_size": 1},
        {
            "blocks": "encoder.layer.",
            "embeddings": [*WORDS_AND_POSITIONS[:2], TYPES],
            "block 2": ["encoder.LayerNorm.weight", "encoder.LayerNorm.bias"],
        },
    ),
    ("distilbert", {}, {"blocks": "transformer.layer.", "embeddings": WORDS_AND_POSITIONS}),
    (
        "mpnet",
        {},
        {
            "blocks": "encoder.layer.",
            "embeddings": [*WORDS_AND_POSITIONS, "encoder.relative_attention_bias.weight"],
        },
    ),
    # Three groups of blocks that share their weights.
    (
        "albert",
        {"embedding_size": 8, "num_hidden_groups": 3},
        {
            "blocks": "encoder.albert_layer_groups.",
            "embeddings": [
                *WORDS_AND_POSITIONS,
                TYPES,
                "encoder.embedding_hidden_mapping_in.weight",
                "encoder.embedding_hidden_mapping_in.bias",
            ],
        },
    ),
]


def reader_of(model_type: str, settings: dict[str, Any], blocks: int = 3) -> ReaderModel:
    common = {
        "vocab_size": 12,
        "hidden_size": 16,
        "num_hidden_layers": blocks,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        **{f"{name}_token_id": number for number, name in enumerate(("pad", "cls", "sep"))},
    }
    return empty_reader(
        AutoConfig.for_model(model_type, **common, **settings),
        dropout=0.0,
        answerability_input="first_token",
    )


def changed(config: TrainingConfig, **changes: object) -> TrainingConfig:
    return TrainingConfig(**{**config.model_dump(), **changes})


def of_parameter(reader: ReaderModel, config: TrainingConfig, key: str) -> dict[str, Any]:
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


@pytest.mark.parametrize(("model_type", "settings", "table"), TABLES)
def test_depths_of_a_family(
    recipe: TrainingConfig, model_type: str, settings: dict[str, Any], table: dict[str, Any]
) -> None:
    """Every parameter of the encoder learns with the part that the table names, none is left."""
    reader = reader_of(model_type, settings)
    table = {**table}
    blocks = table.pop("blocks")
    part_of = {f"encoder.{name}": part for part, names in table.items() for name in names}
    for name, _ in reader.named_parameters():
        if name.startswith(f"encoder.{blocks}"):
            part_of[name] = f"block {name.removeprefix(f'encoder.{blocks}')[0]}"
        elif name.startswith(("span_head.", "answerability_head.")):
            part_of[name] = "heads"
    named = of_parameter(reader, recipe, "name")
    assert named == part_of
    peaks = of_parameter(reader, recipe, "initial_lr")
    exponents = {"embeddings": 3, "block 0": 3, "block 1": 2, "block 2": 1, "heads": 0}
    for name, part in part_of.items():
        expected = recipe.lr * recipe.layer_decay ** exponents[part]
        assert peaks[name] == pytest.approx(expected, rel=1e-12), name


def test_every_family_has_a_table() -> None:
    assert {model_type for model_type, _, _ in TABLES} == set(FAMILIES)


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
    assert names == [part for part in parts for _ in ("no weight decay", "weight decay")]


def test_frozen_parameters_are_left_out(tiny_reader: ReaderModel, recipe: TrainingConfig) -> None:
    tiny_reader.encoder.embeddings.requires_grad_(False)
    assert not [name for name in of_parameter(tiny_reader, recipe, "lr") if "embeddings" in name]


def test_unknown_parameter_is_named(tiny_reader: ReaderModel, recipe: TrainingConfig) -> None:
    """A silent default for it would cost a run."""
    tiny_reader.encoder.register_parameter("relative_bias", nn.Parameter(torch.zeros(2, 2)))
    with pytest.raises(InputError, match=r"relative_bias, whose depth and learning rate"):
        build_param_groups(tiny_reader, recipe)


def test_twenty_four_blocks(recipe: TrainingConfig) -> None:
    """RoBERTa large: 0.75^24 ≈ 0.001 on the embeddings; blocks are numbers, not letters."""
    peaks = of_parameter(reader_of("roberta", {}, blocks=24), recipe, "lr")
    embeddings = peaks["encoder.embeddings.word_embeddings.weight"]
    assert embeddings == pytest.approx(recipe.lr * 0.75**24)
    for block in range(24):
        name = f"encoder.encoder.layer.{block}.output.dense.weight"
        assert peaks[name] == pytest.approx(recipe.lr * 0.75 ** (24 - block))
    assert peaks["span_head.weight"] == recipe.lr


@pytest.mark.parametrize(
    ("update", "linear", "square"),
    [
        (0, Fraction(0), Fraction(0)),
        (1, Fraction(1, 6), Fraction(1, 6)),
        (3, Fraction(1, 2), Fraction(1, 2)),
        (6, Fraction(1), Fraction(1)),
        (7, Fraction(93, 94), Fraction(93**2, 94**2)),
        (53, Fraction(1, 2), Fraction(1, 4)),
        (99, Fraction(1, 94), Fraction(1, 94**2)),
        (100, Fraction(0), Fraction(0)),
    ],
)
def test_exact_points(
    recipe: TrainingConfig, update: int, linear: Fraction, square: Fraction
) -> None:
    """A hundred updates, six of them warm-up."""
    for power, share in ((1.0, linear), (2.0, square)):
        config = changed(recipe, updates=100, warmup_updates=6, decay_power=power)
        got = lr_multiplier(update, config)
        assert got == pytest.approx(float(share), rel=1e-12, abs=0)


def test_the_published_run(recipe: TrainingConfig) -> None:
    """5,430 updates, 326 of warm-up (6 %): the share half-way down is a half."""
    config = changed(recipe, updates=5430, warmup_updates=326, decay_power=1.0)
    assert lr_multiplier((326 + 5430) // 2, config) == 0.5
    assert lr_multiplier(163, config) == 0.5


def test_without_warm_up_it_falls_from_the_start(recipe: TrainingConfig) -> None:
    config = changed(recipe, updates=4, warmup_updates=0, decay_power=1.0)
    shares = [lr_multiplier(n, config) for n in range(5)]
    assert shares == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_warm_up_that_lasts_the_whole_run_ends_at_the_peak(recipe: TrainingConfig) -> None:
    config = changed(recipe, updates=4, warmup_updates=4, decay_power=1.0)
    shares = [lr_multiplier(n, config) for n in range(5)]
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]


@given(st.integers(1, 200), st.data(), st.sampled_from([0.5, 1.0, 2.0]))
def test_it_rises_to_one_and_falls_to_zero(
    recipe: TrainingConfig, updates: int, data: st.DataObject, power: float
) -> None:
    warmup = data.draw(st.integers(0, updates - 1))
    config = changed(recipe, updates=updates, warmup_updates=warmup, decay_power=power)
    shares = [lr_multiplier(update, config) for update in range(updates + 1)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares[warmup] == 1
    assert shares[updates] == 0
    assert shares[: warmup + 1] == sorted(shares[: warmup + 1])
    assert shares[warmup:] == sorted(shares[warmup:], reverse=True)
    assert len(set(shares[warmup:])) == updates - warmup + 1
