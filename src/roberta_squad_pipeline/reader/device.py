"""The device and the number format that a reader computes in."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from roberta_squad_pipeline.reader.config import InferenceConfig, InferenceParameters, Precision

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""torch's names of the formats of 16 bits."""


def available_device() -> torch.device:
    """The first GPU, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision(device: torch.device) -> Precision:
    """The fast number format of a device.

    This is bf16 if the device has instructions for it. Otherwise bf16 is emulated, which is slower
    than fp32 on a CPU. GPUs without instructions for bf16 have them for fp16.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("amx_bf16") or has.get("avx512_bf16") else "fp32"


def resolved_here(inference: InferenceParameters) -> InferenceConfig:
    """Settings of inference with the fast number format of this machine in the place of `auto`."""
    return inference.resolved(fast_precision(available_device()))


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """A context in which forward passes compute in a number format where that is safe."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def rounding_weights_once(device: torch.device) -> AbstractContextManager[None]:
    """A context in which forward passes in 16 bits share the rounded weights.

    Outside of it, each `computing_in` rounds them anew. Weights must not change in it.
    """
    # torch forgets rounded weights as it leaves the outermost of contexts, which is this one.
    return torch.autocast(device.type, enabled=False)


@contextmanager
def wide_products_of(precision: Precision) -> Iterator[None]:
    """A context in which factors of fp32 products on the CPU are rounded to bf16, for bf16 alone.

    Some products have results of 32 bits there, though their factors were computed in bf16, such as
    attention's scores. With factors of 16 bits, oneDNN takes half the time for these. The rule is
    that of all threads.

    Args:
        precision: What forward and backward passes compute in.
    """
    rules = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = rules.fp32_precision
    rules.fp32_precision = "bf16" if precision == "bf16" else before
    try:
        yield
    finally:
        rules.fp32_precision = before


def reading_in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Like `computing_in`, but faster, for forward passes without gradients.

    In fp32 on the CPU, torch multiplies with MKL, which uses half the width of AVX-512 registers on
    processors other than Intel's. oneDNN, with which torch multiplies in bf16, uses the full width.
    With narrower registers, it takes 13 % longer than MKL.
    """
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    wide = there and torch.cpu.get_capabilities().get("avx512_f", False)
    if precision == "fp32" and device.type == "cpu" and wide:
        return _OneDnn()
    return computing_in(precision, device)


class _OneDnn(TorchFunctionMode):
    """Computes linear layers with oneDNN."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _linear(
    input: torch.Tensor,  # noqa: A002 (F.linear's own name)
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    # It has no public name; torch.compile calls it.
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return product
