"""Weights and optimiser state as plain named tensors, sharded or not."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from roberta_squad_pipeline.distributed.processes import Processes

WEIGHTS = "model."
_OPTIMIZER = "optimizer."


def gather_state(
    reader: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes
) -> dict[str, Tensor]:
    """Copies everything that training changes to rank 0's CPU.

    Every process has to call it, since each may have only a shard.

    Returns:
        ``model.NAME`` for weights and buffers, ``optimizer.NAME.KEY`` for the optimiser's state of
        each weight, all in full shape; empty on other ranks.
    """
    return gather(_held(reader, optimizer), processes)


def _held(reader: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors themselves, by their names in a checkpoint; in the same order on all ranks."""
    held = {WEIGHTS + name: value for name, value in reader.state_dict().items()}
    for name, parameter in reader.named_parameters():
        for key, value in optimizer.state[parameter].items():
            held[f"{_OPTIMIZER}{name}.{key}"] = value
    return held


def gather(held: Mapping[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """Copies tensors, sharded or not, to rank 0's CPU; every process has to call it.

    Returns:
        The same names, in full shape; empty on other ranks.
    """
    state = {}
    for name, value in held.items():
        # A collective: all ranks go through the same names in the same order.
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if processes.first:
            # A copy, which the next update does not change.
            state[name] = whole.detach().to("cpu", copy=True).contiguous()
    return state


def allocate_state(reader: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Allocates Adam's state for each weight before the first step.

    If memory ran out during that step, some of the weights would be updated already.
    """
    for parameter in reader.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
        }


def spread_state(
    state: dict[str, Tensor] | None,
    reader: nn.Module,
    optimizer: torch.optim.Optimizer,
    processes: Processes,
) -> None:
    """Puts a state from `gather_state` in place; every process has to call it.

    Args:
        state: All tensors in full shape, on rank 0; other ranks pass None.
        reader: Its weights are overwritten.
        optimizer: Its state is overwritten; it has to be allocated.
        processes: The processes that have the state.
    """
    # Only rank 0 has the checkpoint; all ranks fill the same tensors in the same order.
    for name, target in _held(reader, optimizer).items():
        _fill(target, state[name] if state else None, processes)


@torch.no_grad()
def _fill(target: Tensor, value: Tensor | None, processes: Processes) -> None:
    whole = torch.empty(target.shape, dtype=target.dtype, device=processes.device)
    if value is not None:
        whole.copy_(value)
    # One whole tensor at a time goes to every rank, so that no rank holds the state twice.
    processes.broadcast(whole)
    if isinstance(target, DTensor):
        whole = distribute_tensor(whole, target.device_mesh, target.placements, src_data_rank=None)
    target.copy_(whole)
