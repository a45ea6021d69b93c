"""Epochs, shares, size and device become numbers, and what they came to is said.

Oracle: sums by hand, and transformers' own count of parameters.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.device import fast_precision
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.squad.dataset import Passage, Question, SquadDataset
from roberta_squad_pipeline.training.config import RateBySize, TrainingConfig, TrainingParameters
from roberta_squad_pipeline.training.learning_rates import layer_parameters
from roberta_squad_pipeline.training.resolution import resolve

Build = Callable[[SquadDataset, Path, WindowConfig], Features]
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
    given = TrainingParameters(**recipe.model_dump(exclude={"distil"}) | left)
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
    given = TrainingParameters(**recipe.model_dump(exclude={"distil"}) | unset)
    with caplog.at_level(logging.INFO):
        assert resolve(given, tiny_features, tiny_reader, CPU) == recipe
    assert caplog.messages == []


def test_layers_are_counted_without_embeddings(tiny_reader: ReaderModel) -> None:
    encoder = tiny_reader.encoder
    embeddings = encoder.get_submodule("embeddings").parameters()
    expected = encoder.num_parameters() - sum(parameter.numel() for parameter in embeddings)
    assert layer_parameters(tiny_reader) == expected


def test_epochs_are_of_the_windows_that_are_drawn(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Windows by hand: all but those of the long passage that hold no answer."""
    windows = tiny_features.windows
    several = np.isin(windows.question, np.flatnonzero(np.bincount(windows.question) > 1))
    left = int((~several | (windows.start > 0) | (windows.plausible_start > 0)).sum())
    unset = {"updates": None, "epochs": 8, "warmup_share": None, "lr_by_size": ()}
    given = TrainingParameters(
        **recipe.model_dump(exclude={"distil"}) | unset | {"empty_windows": 0.0}
    )
    with caplog.at_level(logging.INFO):
        assert resolve(given, tiny_features, tiny_reader, CPU).updates == left
    assert caplog.messages[0] == (
        f"training.empty_windows 0.0: each epoch draws {left} of {len(several)} windows"
    )


def test_an_epoch_without_windows_is_told(
    build: Build,
    tiny_reader: ReaderModel,
    roberta_folder: Path,
    window_config: WindowConfig,
    recipe: TrainingConfig,
) -> None:
    asked = Question("q", "Who?", ())
    features = build(
        SquadDataset((Passage("the old bridge " * 50, "", (asked,)),)),
        roberta_folder,
        window_config,
    )
    unset = {"epochs": None, "warmup_share": None, "lr_by_size": ()}
    given = TrainingParameters(
        **recipe.model_dump(exclude={"distil"}) | unset | {"empty_windows": 0.0}
    )
    with pytest.raises(InputError, match=r"training\.empty_windows: got 0\.0 .* Raise it"):
        resolve(given, features, tiny_reader, CPU)
