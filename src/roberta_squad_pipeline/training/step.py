"""One update: gradients of all its micro-batches, over all processes, and the optimiser's step."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.device import computing_in
from roberta_squad_pipeline.reader.dropout import seed_thread
from roberta_squad_pipeline.reader.lanes import Lanes
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

    Each micro-batch's loss is a sum divided by the windows of the whole update, so that, without
    dropout, it does not matter how the update is cut and shared out.

    Args:
        module: The reader, or what `distribute` made of it.
        batches: This process's micro-batches.
        optimizer: Over the reader's parameters.
        scaler: For fp16.
        config: The recipe.
        processes: Those that share the update.

    Returns:
        The update's mean loss, over all processes. Shape: ()

    Raises:
        torch.OutOfMemoryError: No weight was changed.
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


def train_step_in_lanes(
    reader: ReaderModel,
    batches: Sequence[Sequence[Batch]],
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    *,
    lanes: Lanes,
    seeds: Sequence[int],
) -> Tensor:
    """The same update by one process on the CPU, in which each lane reads its own micro-batches.

    Args:
        reader: On the CPU.
        batches: Each lane's micro-batches.
        optimizer: Over the reader's parameters.
        config: The recipe, in fp32 or bf16.
        lanes: As many as there are lists of batches.
        seeds: For each lane's dropout.

    Returns:
        The update's mean loss. Shape: ()
    """
    parameters = [each for each in reader.parameters() if each.requires_grad]
    found = list(lanes.map(partial(_lane_gradients, reader, parameters, config), batches, seeds))

    def finish() -> None:
        for parameter, *parts in zip(parameters, *(of for _, of in found), strict=True):
            parameter.grad, *others = parts
            for other in others:
                parameter.grad += other
        if config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()

    lanes.run(finish)
    return torch.stack([loss for loss, _ in found]).sum()


def _lane_gradients(
    reader: ReaderModel,
    parameters: Sequence[nn.Parameter],
    config: TrainingConfig,
    batches: Sequence[Batch],
    seed: int,
) -> tuple[Tensor, list[Tensor]]:
    """A lane's part of the update's loss, and of its gradients, which other lanes add theirs to."""
    seed_thread(seed)
    alone = Processes.alone(torch.device("cpu"))
    total = torch.zeros(())
    gradients: list[Tensor] = []
    for batch in batches:
        loss = _loss(reader, batch, config, alone)
        found = torch.autograd.grad(loss, parameters)
        if gradients:
            for sum_so_far, gradient in zip(gradients, found, strict=True):
                sum_so_far.add_(gradient)
        else:
            gradients = list(found)
        total += loss.detach()
    return total, gradients


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
    loss = summed_loss(output, batch, config, config.distil)
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
    """Sets each group's learning rate to its own peak times the schedule's multiplier.

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
