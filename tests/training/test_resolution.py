"""Epochs, shares, size and device become numbers, and what they came to is said.

Oracle: sums by hand, and transformers' own count of parameters.
"""

import logging

import pytest
import torch

from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.device import fast_precision
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import RateBySize, TrainingConfig, TrainingParameters
from roberta_squad_pipeline.training.param_groups import layer_parameters
from roberta_squad_pipeline.training.resolution import resolve

CPU = torch.device("cpu")


def test_what_is_left_to_choose_is_chosen_and_said(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = {
        **{"updates": None, "epochs": 2.5, "warmup_updates": None, "warmup_share": 0.2},
        **{"lr": None, "precision": "auto"},
        "lr_by_size": (RateBySize(up_to_million_parameters=None, lr=1e-4),),
    }
    given = TrainingParameters(**recipe.model_dump() | left)
    with caplog.at_level(logging.INFO):
        config = resolve(given, tiny_features, tiny_reader, CPU)
    windows = len(tiny_features.windows.question)
    assert config.updates == -(-5 * windows // (2 * recipe.batch_size))
    assert config.warmup_updates == round(config.updates / 5)
    assert (config.lr, config.precision) == (1e-4, fast_precision(CPU))
    first, second, third = caplog.messages
    assert first == (
        f"2.5 epochs of {windows} windows = {config.updates} updates of 8, "
        f"{config.warmup_updates} of them warm-up"
    )
    assert second.startswith("training.lr 0.0001, by training.lr_by_size for the 0.0 million")
    assert third == f"training.precision auto: {config.precision} on this cpu"


def test_what_is_given_is_left_alone(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unset = {"epochs": None, "warmup_share": None, "lr_by_size": ()}
    given = TrainingParameters(**recipe.model_dump() | unset)
    with caplog.at_level(logging.INFO):
        assert resolve(given, tiny_features, tiny_reader, CPU) == recipe
    assert caplog.messages == []


def test_layers_are_counted_without_embeddings(tiny_reader: ReaderModel) -> None:
    encoder = tiny_reader.encoder
    embeddings = encoder.get_submodule("embeddings").parameters()
    expected = encoder.num_parameters() - sum(parameter.numel() for parameter in embeddings)
    assert layer_parameters(tiny_reader) == expected
