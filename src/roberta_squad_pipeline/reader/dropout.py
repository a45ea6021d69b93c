"""Dropout with cheap random numbers.

On the CPU, torch draws them in one thread and takes four times as long as this: longer than the
matrix product in bf16 before it. With sixteen bits, probabilities are multiples of 1/65,536.
"""

import threading
from typing import Any, cast

import torch
from torch import Tensor, nn

_LEVELS = 2**16
_PER_DRAW = 4
"""Number of 16-bit numbers in one of 64 bits."""
_of_thread = threading.local()
"""Has a `generator` in threads with random numbers of their own."""


class Dropout(nn.Dropout):
    """torch's dropout, with fewer random bits on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (nn.Dropout's own name)
        """Drops values of any shape in training, and scales the others."""
        if input.device.type != "cpu" or not self.training or self.p in {0.0, 1.0}:
            return super().forward(input)
        return cast(Tensor, _Dropped.apply(input, self.p))  # type: ignore[no-untyped-call]


def replace_dropout(module: nn.Module) -> None:
    """Replaces every plain `nn.Dropout` in a module by `Dropout`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))


def seed_thread(seed: int) -> None:
    """Gives this thread random numbers of its own, independent of other threads."""
    _of_thread.generator = torch.Generator().manual_seed(seed)


def draw_noise(count: int) -> Tensor:
    """Draws random numbers on the CPU that decide which values are dropped. Shape: (count,)."""
    drawn = torch.empty(-(-count // _PER_DRAW), dtype=torch.int64)
    drawn.random_(-(2**63), None, generator=getattr(_of_thread, "generator", None))
    return drawn.view(torch.int16)[:count]


def kept(noise: Tensor, p: float) -> tuple[Tensor, float]:
    """Computes the dropout mask.

    Args:
        noise: Numbers from `draw_noise`, in any shape.
        p: Probability that a value is dropped, rounded to a multiple of 1/65,536.

    Returns:
        The mask: 32-bit ones for values that are kept, zeros elsewhere; and the probability of a
        one.
    """
    dropped = round(p * _LEVELS)
    # Numbers of 32 bits, since products with booleans take four times as long.
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
