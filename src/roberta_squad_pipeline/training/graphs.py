"""Gradients by CUDA graphs: all kernels of a micro-batch are started by one call.

Started one by one from Python, those of an encoder of 24 layers wait for the host.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from roberta_squad_pipeline.distributed.config import Strategy
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION, UNLABELLED
from roberta_squad_pipeline.reader.batching import Batch, packing_of
from roberta_squad_pipeline.reader.config import Precision
from roberta_squad_pipeline.reader.device import DTYPES
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput

_ROW_STEP = 128
"""Rows are filled up to a multiple of so many tokens, since each length of a row needs a graph of
its own."""
_WARM_UP = 2
"""Passes before a graph is recorded: libraries allocate in them, and torch.compile compiles."""

Losses = Callable[[Batch], tuple[Tensor, Tensor]]
"""Makes a batch's loss, and the same scaled, whose gradients are wanted. Shapes: ()"""


@dataclass(frozen=True, slots=True)
class _Graph:
    """Both passes of a micro-batch, recorded."""

    batch: Batch
    """Where it reads its input."""
    graph: torch.cuda.CUDAGraph
    loss: Tensor
    """Where it writes the loss. Shape: ()"""


class GraphedGradients:
    """Gradients of a reader's parameters, all in one tensor, where graphs write them.

    In 16 bits, the encoder's linear layers read copies of their weights. Autocast would cast them
    one by one in each pass, and their gradients back again.

    Args:
        reader: On a GPU.
        tokens: Number of tokens of the longest window.
        precision: What the passes compute in.
        processes: Those that share the update; each has the whole reader.
    """

    def __init__(
        self, reader: ReaderModel, *, tokens: int, precision: Precision, processes: Processes
    ) -> None:
        self._reader, self._tokens, self._processes = reader, tokens, processes
        self._graphs: dict[tuple[int, int, bool], _Graph] = {}
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._copies = _linear_copies(reader, DTYPES.get(precision))
        parameters = dict(reader.named_parameters())
        self._copied: list[Tensor] = [parameters[name] for name in self._copies]
        self._leaves = [self._copies.get(name, each) for name, each in parameters.items()]
        sizes = [each.numel() for each in parameters.values()]
        self._all = torch.zeros(sum(sizes), device=processes.device)
        self._gradients: list[Tensor] = []
        parts = torch.split(self._all, sizes)
        for parameter, part in zip(parameters.values(), parts, strict=True):
            parameter.grad = part.view_as(parameter)
            self._gradients.append(parameter.grad)

    def prepare(self, batch: Batch) -> Batch:
        """A batch as `add_up` takes it, on its way to the GPU."""
        filled = fill_row(batch, tokens=self._tokens, step=min(_ROW_STEP, self._tokens))
        return filled.to(self._processes.device)

    def read(self, batch: Batch) -> ReaderOutput:
        """The reader's forward pass."""
        output: ReaderOutput = functional_call(self._reader, self._copies, (batch,))
        return output

    def add_up(self, batches: Sequence[Batch], losses: Losses) -> Tensor:
        """Sets the gradients to the sum over the micro-batches of all processes.

        Args:
            batches: From `prepare`.
            losses: Makes a batch's loss, by `read`.

        Returns:
            The sum of this process's losses. Shape: ()
        """
        if self._copies:
            with torch.no_grad():
                torch._foreach_copy_(list(self._copies.values()), self._copied)
        keys = [(*_shape(batch), number == 0) for number, batch in enumerate(batches)]
        for key, batch in zip(keys, batches, strict=True):
            if key not in self._graphs:
                self._graphs[key] = self._record(batch, losses, first=key[-1])
        total = torch.zeros((), device=self._all.device)
        for key, batch in zip(keys, batches, strict=True):
            graph = self._graphs[key]
            _copy(batch, graph.batch)
            graph.graph.replay()
            total += graph.loss
        # One collective for all gradients: no rank steps before it has those of all.
        self._processes.sum(self._all)
        return total

    def forget(self) -> None:
        """Gives back the memory of all graphs."""
        self._graphs.clear()
        # A pool ends with the last graph that takes memory from it.
        self._pool = torch.cuda.graph_pool_handle()

    def _record(self, batch: Batch, losses: Losses, *, first: bool) -> _Graph:
        def passes() -> Tensor:
            loss, scaled = losses(batch)
            found = torch.autograd.grad(scaled, self._leaves)
            put = torch._foreach_copy_ if first else torch._foreach_add_
            # A few kernels for hundreds of tensors, if all have the same number format.
            for dtype in {each.dtype for each in found}:
                alike = [number for number, each in enumerate(found) if each.dtype == dtype]
                put([self._gradients[n] for n in alike], [found[n] for n in alike])
            return loss.detach()

        return _Graph(batch, *_recorded(passes, self._all.device, self._pool))


def _linear_copies(reader: ReaderModel, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Copies of the parameters that autocast would cast to 16 bits, by name; none for None."""
    if dtype is None:
        return {}
    return {
        f"encoder.{name}.{own}": parameter.detach().to(dtype).requires_grad_()
        for name, module in reader.encoder.named_modules()
        if isinstance(module, nn.Linear)
        for own, parameter in module.named_parameters(recurse=False)
    }


def _recorded(
    passes: Callable[[], Tensor], device: torch.device, pool: Any
) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """Records what a function starts on a GPU, and where its result will be."""
    # Recording must not change which values an update drops: a run that goes on from a checkpoint
    # records at other updates.
    random_state = torch.cuda.get_rng_state(device)
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            passes()
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # Other threads may ask the GPU for events meanwhile, as NCCL's does.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = passes()
    torch.cuda.set_rng_state(random_state, device)
    return graph, result


def takes_graphs(
    reader: ReaderModel, features: Features, processes: Processes, strategy: Strategy
) -> bool:
    """Whether updates can be made by `GraphedGradients`.

    They need a GPU, and in each process all of a reader that takes packed windows. A teacher's
    outputs are padded to other lengths.
    """
    return (
        processes.device.type == "cuda"
        and reader.first_position is not None
        and features.teacher is None
        and (processes.count == 1 or strategy == "ddp")
    )


def fill_row(batch: Batch, *, tokens: int, step: int) -> Batch:
    """Adds a window without a label that fills the row up to a multiple of `step`.

    Args:
        batch: On the CPU, packed, without a teacher.
        tokens: What windows are padded to; at least the length of the longest.
        step: At most `tokens`.
    """

    def padded(part: Tensor) -> Tensor:
        return F.pad(part, (0, tokens - part.shape[1], 0, 1))

    attention_mask = padded(batch.attention_mask)
    # At least one token: kernels know no windows without any.
    attention_mask[-1, : step - int(attention_mask.sum()) % step] = True
    token_type_ids = padded(batch.token_type_ids)
    # All of it is a question, or the mean over its question's tokens would be 0 / 0.
    token_type_ids[-1] = batch.question_type
    return Batch(
        padded(batch.input_ids),
        attention_mask,
        token_type_ids,
        F.pad(batch.start, (0, 1), value=UNLABELLED),
        F.pad(batch.end, (0, 1), value=UNLABELLED),
        F.pad(batch.plausible_start, (0, 1), value=NO_ANSWER_POSITION),
        F.pad(batch.plausible_end, (0, 1), value=NO_ANSWER_POSITION),
        packing_of(attention_mask.numpy()),
        order=batch.order,
    )


def _shape(batch: Batch) -> tuple[int, int]:
    """Number of windows, and of tokens in the row."""
    return len(batch.start), len(batch.packing.tokens) if batch.packing else 0


def _copy(source: Any, target: Any) -> None:
    """Copies the tensors of a record into those of another."""
    for field in fields(source):
        value, place = getattr(source, field.name), getattr(target, field.name)
        if isinstance(value, Tensor):
            place.copy_(value)
        elif is_dataclass(value):
            _copy(value, place)
