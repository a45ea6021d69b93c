"""One update: gradients of all its micro-batches, over all processes, and the optimiser's step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.device import computing_in
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.loss import summed_loss
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.param_groups import build_param_groups
from roberta_squad_pipeline.training.schedule import lr_multiplier
from roberta_squad_pipeline.training.strategy import reducing


def train_step(
    module: nn.Module,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: LossScaler,
    config: TrainingConfig,
    *,
    processes: Processes,
) -> Tensor:
    """One update: gradients of all its micro-batches, then one step of the optimiser.

    Each micro-batch's loss is a sum divided by the windows of the whole update, so that how the
    update is cut and shared out does not matter without dropout.

    Args:
        module: The reader, or what makes its gradients add up over processes.
        batches: This process's micro-batches.
        optimizer: Over the reader's parameters.
        scaler: For fp16.
        config: The recipe.
        processes: Which share the update.

    Returns:
        The update's mean loss, over all processes. Shape: ()

    Raises:
        torch.OutOfMemoryError: Then no weight was changed.
    """
    optimizer.zero_grad(set_to_none=True)
    total = _accumulate(module, batches, scaler, config, processes)
    if config.max_grad_norm is not None:
        scaler.unscale(optimizer)
        nn.utils.clip_grad_norm_(module.parameters(), config.max_grad_norm)
    scaler.step(optimizer)
    # Every rank reports, and checks, the loss of the whole update, not of its own share.
    processes.sum(total)
    return total


def _accumulate(
    module: nn.Module,
    batches: Sequence[Batch],
    scaler: LossScaler,
    config: TrainingConfig,
    processes: Processes,
) -> Tensor:
    """Gradients of all micro-batches, reduced with the last; gives this process's loss."""
    # It stays on the device: to ask for each micro-batch's loss would be to wait each time.
    total = torch.zeros((), device=processes.device)
    for number, batch in enumerate(batches, start=1):
        with reducing(module, now=number == len(batches)):
            loss = _loss(module, batch, config, processes)
            scaler.backward(loss)
        total += loss.detach()
    # Takes out the factor of `_loss`, so that the sum over ranks is the update's mean.
    return total / processes.count


def _loss(module: nn.Module, batch: Batch, config: TrainingConfig, processes: Processes) -> Tensor:
    device = processes.device
    batch = batch.to(device)
    with computing_in(config.precision, device):
        output = module(batch)
    loss = summed_loss(output, batch, config.plausible_weight)
    # The one place of this factor: DDP and FSDP average gradients over ranks, while an update's
    # gradient is the sum over ranks of losses that are divided by all of its windows already.
    return loss / config.batch_size * processes.count


def build_optimizer(reader: ReaderModel, config: TrainingConfig) -> torch.optim.AdamW:
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
