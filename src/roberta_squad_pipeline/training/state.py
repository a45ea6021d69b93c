"""Weights and optimiser state as plain named tensors, whichever way they are shared out."""

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

    Every process has to call it: each may hold but a share.

    Returns:
        ``model.NAME`` for weights and buffers, ``optimizer.NAME.KEY`` for what the optimiser keeps
        of each weight, each in its whole shape; empty on other ranks than 0.
    """
    held = {WEIGHTS + name: value for name, value in reader.state_dict().items()}
    for name, parameter in reader.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            held[f"{_OPTIMIZER}{name}.{key}"] = value
    return _gather(held, processes)


def gather_weights(reader: nn.Module, processes: Processes) -> dict[str, Tensor]:
    """Copies the weights alone to rank 0's CPU; every process has to call it.

    Returns:
        By the reader's own names, each in its whole shape; empty on other ranks than 0.
    """
    return _gather(reader.state_dict(), processes)


def _gather(held: Mapping[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    state = {}
    for name, value in held.items():
        # A collective: every rank walks the same names in the same order.
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if processes.first:
            state[name] = whole.detach().to("cpu", copy=True).contiguous()
    return state


def spread_state(
    state: dict[str, Tensor] | None,
    reader: nn.Module,
    optimizer: torch.optim.Optimizer,
    processes: Processes,
) -> None:
    """Puts what `gather_state` copied back in place; every process has to call it.

    Args:
        state: Of whole shapes, on rank 0; the others give None.
        reader: Whose weights are overwritten.
        optimizer: Whose state is overwritten.
        processes: Among which the state is spread.
    """
    listed = "\n".join(state).encode() if state is not None else None
    # Only rank 0 has the checkpoint, and all have to fill the same tensors in the same order.
    names = set(processes.broadcast_bytes(listed).decode().split("\n"))
    for name, target in reader.state_dict().items():
        _fill(target, state[WEIGHTS + name] if state else None, processes)
    for name, parameter in reader.named_parameters():
        prefix = f"{_OPTIMIZER}{name}."
        for full_name in sorted(other for other in names if other.startswith(prefix)):
            key = full_name.removeprefix(prefix)
            target = torch.zeros_like(parameter, requires_grad=False)
            if key == "step":
                target = torch.zeros((), device=parameter.device)
            _fill(target, state[full_name] if state else None, processes)
            optimizer.state[parameter][key] = target


@torch.no_grad()
def _fill(target: Tensor, value: Tensor | None, processes: Processes) -> None:
    whole = torch.empty(target.shape, dtype=target.dtype, device=processes.device)
    if value is not None:
        whole.copy_(value)
    # Whole to every rank, one tensor at a time, so that no rank holds the state twice.
    processes.broadcast(whole)
    if isinstance(target, DTensor):
        whole = distribute_tensor(whole, target.device_mesh, target.placements, src_data_rank=None)
    target.copy_(whole)
