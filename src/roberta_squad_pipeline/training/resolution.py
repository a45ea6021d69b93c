"""Resolves training settings that depend on data, encoder and device."""

import logging

import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import epoch_windows, thinning_of
from roberta_squad_pipeline.reader.device import fast_precision
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig, TrainingParameters
from roberta_squad_pipeline.training.learning_rates import layer_parameters

_logger = logging.getLogger(__name__)


def resolve(
    parameters: TrainingParameters, features: Features, reader: ReaderModel, device: torch.device
) -> TrainingConfig:
    """Turns epochs, shares and open settings into numbers, and logs the results.

    It is called once, in the process that starts the others, so that all of them agree.

    Args:
        parameters: The settings in conf/.
        features: The training windows.
        reader: The reader before its first update.
        device: The device that trains it.

    Raises:
        InputError: The warm-up is longer than the run, no window is left to be drawn, or the
            encoder has a parameter that is unknown in its family.
    """
    windows = _epoch_windows(parameters, features)
    in_layers = layer_parameters(reader)
    config = parameters.for_run(
        windows=windows, layer_parameters=in_layers, fast=fast_precision(device)
    )
    length = (
        f"{config.updates:,} updates of {config.batch_size}, {config.warmup_updates:,} of them "
        "warm-up"
    )
    if parameters.epochs is not None:
        _logger.info("%g epochs of %s windows = %s", parameters.epochs, f"{windows:,}", length)
    elif parameters.warmup_share is not None:
        _logger.info("%s", length)
    if parameters.lr is None:
        _logger.info(
            "training.lr %g, by training.lr_by_size for the %.1f million parameters in the "
            "encoder's layers",
            config.lr,
            in_layers / 1e6,
        )
    if parameters.precision == "auto":
        _logger.info("training.precision auto: %s on this %s", config.precision, device.type)
    return config


def _epoch_windows(parameters: TrainingParameters, features: Features) -> int:
    windows = len(features.window_tokens)
    share = parameters.empty_windows
    drawn = epoch_windows(windows, thinning_of(features.windows, share))
    if drawn < windows:
        _logger.info(
            "training.empty_windows %s: each epoch draws %s of %s windows",
            share,
            f"{drawn:,}",
            f"{windows:,}",
        )
    if not drawn:
        raise InputError(
            where="training.empty_windows",
            got=f"{share} with {windows} training windows, none of which contains an answer or a "
            "whole passage",
            expected="at least one window in each epoch",
            remedy="Raise it, or set it to keep.",
        )
    return drawn
