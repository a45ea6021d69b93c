"""The training loop and its step."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.errors import TrainingError
from roberta_squad_pipeline.reader.batching import Batch, assemble, micro_batches, update_windows
from roberta_squad_pipeline.reader.device import computing_in
from roberta_squad_pipeline.reader.loss import summed_loss
from roberta_squad_pipeline.reader.model import Reader
from roberta_squad_pipeline.squad.features import Features
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.param_groups import build_param_groups
from roberta_squad_pipeline.training.schedule import lr_multiplier


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """What one update did."""

    update: int
    """Counted from 1."""
    loss: float
    """Mean over the update's windows."""
    lr_highest: float
    """Learning rate of the heads."""
    lr_lowest: float
    """Learning rate of the embeddings."""
    windows: int
    loss_scale: float
    """1 unless precision is fp16."""


def train_reader(
    reader: Reader,
    features: Features,
    config: TrainingConfig,
    *,
    device: torch.device,
    on_update: Callable[[UpdateRecord], None],
) -> None:
    """Trains a reader in place.

    Args:
        reader: Moved to `device`.
        features: The training windows.
        config: The recipe.
        device: Where to compute.
        on_update: Told of every update as soon as it is made.

    Raises:
        TrainingError: The loss is no longer a number, or fp16 overflows for ever.
    """
    torch.manual_seed(config.seed)
    reader.to(device).train()
    optimizer = build_optimizer(reader, config)
    scaler = LossScaler(config.loss_scale, enabled=config.precision == "fp16", device=device)
    window_tokens = features.window_tokens
    for update in range(1, config.updates + 1):
        set_learning_rates(optimizer, update, config)
        drawn = update_windows(len(window_tokens), config.batch_size, config.seed, update)
        pieces = micro_batches(drawn, window_tokens, config.micro_batch)
        batches = (assemble(features, piece).to(device) for piece in pieces)
        loss = train_step(reader, batches, optimizer, scaler, config).item()
        _check_loss(loss, update, optimizer, config)
        scaler.check(update)
        rates = [group["lr"] for group in optimizer.param_groups]
        on_update(
            UpdateRecord(update, loss, max(rates), min(rates), config.batch_size, scaler.scale)
        )


def train_step(
    reader: Reader,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: LossScaler,
    config: TrainingConfig,
) -> Tensor:
    """One update: gradients of all its micro-batches, then one step of the optimiser.

    Each micro-batch's loss is a sum divided by the windows of the whole update, so that how the
    update is cut does not matter.

    Returns:
        The update's mean loss. Shape: ()
    """
    device = next(reader.parameters()).device
    total = torch.zeros((), device=device)
    optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        with computing_in(config.precision, device):
            output = reader(batch)
        loss = summed_loss(output, batch) / config.batch_size
        scaler.backward(loss)
        total += loss.detach()
    if config.max_grad_norm is not None:
        scaler.unscale(optimizer)
        nn.utils.clip_grad_norm_(reader.parameters(), config.max_grad_norm)
    scaler.step(optimizer)
    return total


def build_optimizer(reader: Reader, config: TrainingConfig) -> torch.optim.AdamW:
    """Adam with decoupled weight decay over the layer-wise parameter groups."""
    return torch.optim.AdamW(
        build_param_groups(reader, config), betas=config.betas, eps=config.eps, fused=True
    )


def set_learning_rates(
    optimizer: torch.optim.Optimizer, update: int, config: TrainingConfig
) -> None:
    """Gives every group its own peak times the schedule's share of it.

    One rate for all groups would undo the layer-wise decay.
    """
    share = lr_multiplier(
        update,
        updates=config.updates,
        warmup_updates=config.warmup_updates,
        power=config.decay_power,
    )
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


def _check_loss(
    loss: float, update: int, optimizer: torch.optim.Optimizer, config: TrainingConfig
) -> None:
    # An fp16 overflow may reach the loss; its update was skipped and the scale lowered.
    if math.isfinite(loss) or config.precision == "fp16":
        return
    highest = max(group["lr"] for group in optimizer.param_groups)
    raise TrainingError(
        f"loss {loss} at update {update} of {config.updates}, expected a finite number "
        f"(learning rate {highest:.3g}, precision {config.precision}). Lower training.lr, "
        "lengthen training.warmup_updates, or set training.max_grad_norm."
    )
