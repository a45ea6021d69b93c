"""One model in several processes: each has a copy, or a shard, of what training changes."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.config import Strategy
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.families import family_of
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader

WEIGHTS = "model."
_OPTIMIZER = "optimizer."


def share_reader(
    reader: ReaderModel | None, config: ModelConfig, processes: Processes
) -> ReaderModel:
    """Gives every process rank 0's reader, so that only rank 0 needs the encoder's files.

    Args:
        reader: The reader on rank 0; other ranks pass None.
        config: What the reader was made with.
        processes: All of them have to call it.

    Returns:
        The reader on the process's device.
    """
    told = json.dumps(reader.encoder.config.to_dict()).encode() if reader else None
    described = json.loads(processes.broadcast_bytes(told))
    if reader is None:
        # Of the same shape, to receive the weights.
        encoder_config = AutoConfig.for_model(**described)
        reader = empty_reader(encoder_config, config.dropout, config.answerability_input)
    reader.to(processes.device)
    # In the order of the state dict, which is the same on all ranks.
    for tensor in reader.state_dict().values():
        processes.broadcast(tensor)
    return reader


def distribute(reader: ReaderModel, processes: Processes, strategy: Strategy) -> nn.Module:
    """Makes gradients add up over all processes; call the result instead of the reader.

    Args:
        reader: The reader on its device, with the same weights in each process.
        processes: The processes that train it.
        strategy: "ddp" gives each process the whole model. "fsdp" divides weights, gradients and
            optimiser state, and gathers a layer's weights when they are needed.
    """
    if processes.count == 1:
        return reader
    if strategy == "ddp":
        # Every rank has rank 0's weights from `share_reader`, and an encoder's buffers never
        # change. So neither has to be broadcast again.
        return DistributedDataParallel(
            reader, forward_sync_buffers=False, init_sync=False, gradient_as_bucket_view=True
        )
    # It warns that the logits are views, which only matters if they are changed in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for layer in _layers(reader):
        fully_shard(layer, mesh=mesh)
    fully_shard(reader, mesh=mesh)
    return reader


def compile_layers(reader: ReaderModel, device: torch.device) -> None:
    """Has the layers of a reader's encoder compiled when they are first called.

    Raises:
        InputError: The device is not a GPU.
    """
    if device.type != "cuda":
        raise InputError(
            where="training.compile_layers",
            got=f"true on the {device.type}",
            expected="a GPU, for which layers are compiled",
            remedy="Set it to false, as in conf/base.",
        )
    for layer in _layers(reader):
        # A row of windows has another length each time.
        layer.compile(dynamic=True)


def _layers(reader: ReaderModel) -> Iterator[nn.Module]:
    blocks = family_of(reader.encoder.config).blocks.removesuffix(".")
    return reader.encoder.get_submodule(blocks).children()


def reducing(module: nn.Module, *, now: bool) -> AbstractContextManager[object]:
    """A context in which gradients are added up over all processes, or kept for the next time.

    So an update of many micro-batches reduces its gradients once.
    """
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(now)
    elif isinstance(module, DistributedDataParallel) and not now:
        return module.no_sync()
    return nullcontext()


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
