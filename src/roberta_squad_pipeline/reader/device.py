"""Where and in which number format a reader computes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from roberta_squad_pipeline.reader.config import Precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def available_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision(device: torch.device) -> Precision:
    """The number format that a device computes fast in.

    bf16 where the device has instructions for it. Elsewhere it is emulated, which on a CPU is
    slower than fp32. GPUs without instructions for bf16 have them for fp16.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("amx_bf16") or has.get("avx512_bf16") else "fp32"


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Forward passes inside this context compute in the given format where that is safe."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def reading_in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """As `computing_in`, but faster, for forward passes without gradients.

    For fp32 on the CPU torch multiplies by MKL, which on processors that are not Intel's uses half
    the width of AVX-512's registers. oneDNN, which torch multiplies by in bf16, uses all of it;
    where registers are narrower, it takes 13 % longer than MKL.
    """
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    wide = there and torch.cpu.get_capabilities().get("avx512_f", False)
    if precision == "fp32" and device.type == "cpu" and wide:
        return _OneDnn()
    return computing_in(precision, device)


class _OneDnn(TorchFunctionMode):
    """Computes linear layers by oneDNN."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _linear(
    input: torch.Tensor,  # noqa: A002 (F.linear's own name)
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    # There is no public name for it; it is what torch.compile calls.
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return product
