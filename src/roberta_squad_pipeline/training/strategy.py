"""Trains one model in several processes: each has a copy, or a shard."""

import json
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoConfig

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.config import Strategy
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.families import family_of
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader


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
