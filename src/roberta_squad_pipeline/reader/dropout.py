"""Dropout with cheap random numbers and masks.

On the CPU, torch draws random numbers in one thread and takes six times as long as this: longer
than the matrix product in bf16 before it. With sixteen bits, probabilities are multiples of
1/65,536.
"""

import threading
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

_LEVELS = 2**16
_PER_DRAW = 4
"""Number of 16-bit numbers in one of 64 bits."""
_LEAST, _GREATEST = -(2**63), 2**63 - 1
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
    _of_thread.generator = np.random.Generator(np.random.SFC64(seed))


def draw_mask(count: int, p: float) -> tuple[Tensor, float]:
    """Draws on the CPU which values are dropped.

    Args:
        count: Number of values.
        p: Probability that a value is dropped, rounded to a multiple of 1/65,536.

    Returns:
        The dropout mask: ones for values that are kept, zeros elsewhere, in 16 bits, of the shape
        (count,); and the probability of a one.
    """
    generator = getattr(_of_thread, "generator", None)
    if generator is None:
        # Seeded by torch's own random numbers, so that `torch.manual_seed` decides.
        seed = int(torch.empty((), dtype=torch.int64).random_())
        generator = np.random.Generator(np.random.SFC64(seed))
    drawn = generator.integers(_LEAST, _GREATEST, -(-count // _PER_DRAW), np.int64, endpoint=True)
    noise = torch.from_numpy(drawn).view(torch.int16)[:count]
    dropped = round(p * _LEVELS)
    return noise.ge_(dropped - _LEVELS // 2), 1 - dropped / _LEVELS


def keep(values: Tensor, mask: Tensor) -> Tensor:
    """Sets values to 0 where the mask is 0.

    Args:
        values: In fp32, or a format of 16 bits.
        mask: From `draw_mask`, in the shape of the values.
    """
    if values.dtype == torch.float32:
        return values * mask.float()
    # Times 1 or 0 as whole numbers, a value's bits are the same or 0, and no format is changed.
    return (values.view(torch.int16) * mask).view(values.dtype)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, p: float) -> Tensor:
        mask, ctx.keep_probability = draw_mask(values.numel(), p)
        mask = mask.view(values.shape)
        ctx.save_for_backward(mask)
        return keep(values, mask).div_(ctx.keep_probability)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return keep(gradients[0], mask).div_(ctx.keep_probability), None
