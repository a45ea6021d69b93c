"""The device and the number format that a reader computes in."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from roberta_squad_pipeline.reader.config import InferenceConfig, InferenceParameters, Precision

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""torch's names of the formats of 16 bits."""
_MATMUL: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
_ALLOWED = "bf16"
"""The rule by which torch leaves products to oneDNN, and oneDNN may round their factors."""


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


def fast_products(device: torch.device, *, may_round: bool) -> AbstractContextManager[None]:
    """A context in which oneDNN makes products with factors of 32 bits on the CPU, if that is fast.

    By default, torch makes them with MKL, which uses half the width of AVX-512 registers on
    processors other than Intel's.

    Args:
        device: Where the products are made.
        may_round: Whether oneDNN may be used where it rounds factors to bf16, which is with AMX. In
            training in bf16, those of attention's scores have hardly more digits.
    """
    if device.type == "cpu" and (may_round or (_has_wide_onednn() and not _has_amx())):
        return _BY_ONEDNN
    return nullcontext()


def products_are_fast() -> bool:
    """Whether this is inside of `fast_products`."""
    return bool(_MATMUL.fp32_precision == _ALLOWED)


class _ByOneDnn(AbstractContextManager[None]):
    """Holds torch's rule, which is one for all threads, for as long as any thread is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, _MATMUL.fp32_precision = _MATMUL.fp32_precision, _ALLOWED
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _MATMUL.fp32_precision = self._before


_BY_ONEDNN = _ByOneDnn()


def _has_wide_onednn() -> bool:
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(there and torch.cpu.get_capabilities().get("avx512_f"))


def _has_amx() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


@contextmanager
def reading_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Like `computing_in`, but faster, for forward passes without gradients."""
    with fast_products(device, may_round=False):
        # With narrower registers, oneDNN takes 13 % longer than MKL.
        if precision == "fp32" and device.type == "cpu" and _has_wide_onednn():
            with _OneDnn():
                yield
        else:
            with computing_in(precision, device):
                yield


class _OneDnn(TorchFunctionMode):
    """Computes linear layers with oneDNN, and adds the bias in the same call."""

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
