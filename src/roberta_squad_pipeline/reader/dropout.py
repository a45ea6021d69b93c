"""Dropout whose random numbers cost less than the layer before it.

On the CPU torch draws them in one thread and takes four times as long as this: more than the matrix
product in bf16 that makes the values. Sixteen bits tell chances apart to 1/65,536.
"""

import threading
from typing import Any, cast

import torch
from torch import Tensor, nn

_LEVELS = 2**16
_PER_DRAW = 4
"""Numbers of 16 bits in one of 64."""
_of_thread = threading.local()
"""`generator`, for a thread that has one of its own."""


class Dropout(nn.Dropout):
    """torch's dropout, with fewer random bits where they are drawn on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (nn.Dropout's own name)
        """Drops values of any shape while training, and scales those that it keeps."""
        if input.device.type != "cpu" or not self.training or self.p in {0.0, 1.0}:
            return super().forward(input)
        return cast(Tensor, _Dropped.apply(input, self.p))  # type: ignore[no-untyped-call]


def replace_dropout(module: nn.Module) -> None:
    """Replaces every plain `nn.Dropout` inside a module by `Dropout`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))


def seed_thread(seed: int) -> None:
    """Gives this thread random numbers of its own, whatever other threads draw meanwhile."""
    _of_thread.generator = torch.Generator().manual_seed(seed)


def draw_noise(count: int) -> Tensor:
    """Draws on the CPU what decides which of `count` values are dropped. Shape: (count,)."""
    drawn = torch.empty(-(-count // _PER_DRAW), dtype=torch.int64)
    drawn.random_(-(2**63), None, generator=getattr(_of_thread, "generator", None))
    return drawn.view(torch.int16)[:count]


def kept(noise: Tensor, p: float) -> tuple[Tensor, float]:
    """Which values dropout keeps, by their noise.

    Args:
        noise: From `draw_noise`, in any shape.
        p: Chance that a value is dropped, rounded to a multiple of 1/65,536.

    Returns:
        32-bit ones where a value is kept and zeros elsewhere, and the chance of a one.
    """
    dropped = round(p * _LEVELS)
    # Numbers of 32 bits, not truth values: products with those are four times as slow.
    ones = torch.empty(noise.shape, dtype=torch.float32)
    return torch.ge(noise, dropped - _LEVELS // 2, out=ones), 1 - dropped / _LEVELS


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Tensor:
        noise = draw_noise(values.numel()).view(values.shape)
        ctx.p = p
        ctx.save_for_backward(noise)
        return _drop(values, noise, p)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (noise,) = ctx.saved_tensors
        return _drop(gradients[0], noise, ctx.p), None


def _drop(values: Tensor, noise: Tensor, p: float) -> Tensor:
    ones, chance = kept(noise, p)
    return (values * ones.mul_(1 / chance)).to(values.dtype)
