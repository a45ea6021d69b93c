"""One update: the gradients of its micro-batches on all processes, and the optimiser's step."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.device import (
    computing_in,
    fast_products,
    rounding_weights_once,
)
from roberta_squad_pipeline.reader.dropout import seed_thread
from roberta_squad_pipeline.reader.lanes import Lanes
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.graphs import GraphedGradients
from roberta_squad_pipeline.training.loss import summed_loss
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.strategy import reducing

_LEAST_HIDDEN = 256
"""Size of hidden states from which oneDNN's products in fp32 spare time, though it makes a kernel
for each new length: with 128, two lanes lose 3 % (measured)."""


def train_step(
    module: nn.Module,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: LossScaler,
    config: TrainingConfig,
    *,
    processes: Processes,
    graphed: GraphedGradients | None = None,
) -> Tensor:
    """One update: gradients of all its micro-batches, then one step of the optimiser.

    The loss of a micro-batch is a sum divided by the number of windows in the whole update. So,
    without dropout, the result does not depend on how the update is divided.

    Args:
        module: The reader, or the result of `distribute`.
        batches: This process's micro-batches; with graphs, from their `prepare`.
        optimizer: The optimiser of the reader's parameters.
        scaler: The loss scale of fp16.
        config: The recipe.
        processes: The processes that share the update.
        graphed: Makes the gradients, if they are made by graphs.

    Returns:
        The update's mean loss over all processes. Shape: ()

    Raises:
        torch.OutOfMemoryError: Memory ran out; no weight was changed.
    """
    # DDP and FSDP average gradients over ranks. But an update's gradient is the sum over ranks,
    # since each loss is already divided by all windows of the update.
    factor = 1 if graphed else processes.count
    read = graphed.read if graphed else module

    def losses(batch: Batch) -> tuple[Tensor, Tensor]:
        loss = _loss(read, batch, config, processes.device)
        return loss, scaler.scale(loss * factor)

    if graphed:
        total = graphed.add_up(batches, losses)
    else:
        optimizer.zero_grad(set_to_none=True)
        # It stays on the device, since reading each micro-batch's loss would be a wait each time.
        total = torch.zeros((), device=processes.device)
        fast = fast_products(processes.device, may_round=config.precision == "bf16")
        for number, batch in enumerate(batches, start=1):
            with reducing(module, now=number == len(batches)), fast:
                loss, scaled = losses(batch)
                scaled.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    if config.max_grad_norm is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(module.parameters(), config.max_grad_norm)
    scaler.step(optimizer)
    scaler.update()
    # Every rank checks and reports the loss of the whole update, not of its own share.
    processes.sum(total)
    return total


def lane_readers(reader: ReaderModel, count: int) -> list[ReaderModel]:
    """Gives each lane the reader: the same weights in memory, and gradients of its own.

    Args:
        reader: On the CPU.
        count: Number of lanes.
    """

    def alias() -> ReaderModel:
        parameters = {
            id(each): nn.Parameter(each.detach(), requires_grad=each.requires_grad)
            for each in reader.parameters()
        }
        lane = copy.deepcopy(reader, parameters)
        # A dense gradient of 50,000 embeddings takes 7 % of an update of MiniLM's shape in bf16,
        # most of it zeros, once per micro-batch.
        cast(nn.Embedding, lane.encoder.get_input_embeddings()).sparse = True
        return lane

    return [alias() for _ in range(count)]


def train_step_in_lanes(
    reader: ReaderModel,
    readers: Sequence[ReaderModel],
    batches: Sequence[Sequence[Batch]],
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    *,
    lanes: Lanes,
    seeds: Sequence[int],
) -> Tensor:
    """The same update in one process on the CPU, where each lane has its own micro-batches.

    Args:
        reader: The reader.
        readers: Each lane's; see `lane_readers`.
        batches: The micro-batches of each lane.
        optimizer: The optimiser of the reader's parameters.
        config: The recipe, in fp32 or bf16.
        lanes: As many lanes as there are lists of batches.
        seeds: The seed of each lane's dropout.

    Returns:
        The update's mean loss. Shape: ()
    """
    may_round = config.precision == "bf16"
    gains = may_round or reader.encoder.config.hidden_size >= _LEAST_HIDDEN
    with fast_products(torch.device("cpu"), may_round=may_round) if gains else nullcontext():
        losses = list(lanes.map(partial(_lane_gradients, config), readers, batches, seeds))

    def finish() -> None:
        of_lanes = zip(*(lane.parameters() for lane in readers), strict=True)
        for parameter, aliases in zip(reader.parameters(), of_lanes, strict=True):
            for gradient in (alias.grad for alias in aliases if alias.grad is not None):
                if parameter.grad is None:
                    parameter.grad = gradient.to_dense()
                else:
                    parameter.grad += gradient
        if config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(reader.parameters(), config.max_grad_norm)
        optimizer.step()
        # All others would be kept beside the next update's activations. The embeddings' stays as
        # zeros: new memory for it takes as long as the optimiser.
        embeddings = reader.encoder.get_input_embeddings().weight
        for parameter in reader.parameters():
            if parameter is embeddings and parameter.grad is not None:
                parameter.grad.zero_()
            else:
                parameter.grad = None
        for lane in readers:
            lane.zero_grad(set_to_none=True)

    lanes.run(finish)
    return torch.stack(losses).sum()


def _lane_gradients(
    config: TrainingConfig, reader: ReaderModel, batches: Sequence[Batch], seed: int
) -> Tensor:
    """Adds up the gradients of a lane's part of the update; returns its part of the loss."""
    seed_thread(seed)
    total = torch.zeros(())
    with rounding_weights_once(total.device):
        for batch in batches:
            loss = _loss(reader, batch, config, total.device)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    return total


def _loss(
    read: Callable[[Batch], ReaderOutput],
    batch: Batch,
    config: TrainingConfig,
    device: torch.device,
) -> Tensor:
    """A micro-batch's part of the update's mean loss."""
    batch = batch.to(device)
    with computing_in(config.precision, device):
        output = read(batch)
    return summed_loss(output, batch, config, config.distil) / config.batch_size
