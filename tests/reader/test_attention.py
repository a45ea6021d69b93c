"""Attention within windows that lie end to end.

Oracle: softmax(QKᵀ · scaling)V window by window in float64, dropout's mask between them, and
autograd's gradients of that.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from roberta_squad_pipeline.reader.attention import (
    attend_jagged,
    attend_one_by_one,
    attend_padded,
)
from roberta_squad_pipeline.reader.batching import Packing
from roberta_squad_pipeline.reader.dropout import draw_noise

pytestmark = pytest.mark.usefixtures("one_thread")
Attention = Callable[..., Tensor]
LENGTHS = (5, 33, 1, 12, 33)
HEADS, SIZE, SCALING = 3, 8, 0.35


def packing() -> Packing:
    offsets = torch.tensor([0, *LENGTHS]).cumsum(0)
    longest = max(LENGTHS)
    tokens = [torch.arange(length) + row * longest for row, length in enumerate(LENGTHS)]
    return Packing(LENGTHS, offsets, torch.cat(tokens))


def rows(dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values as an encoder hands them on: heads before tokens, by a view."""
    drawn = torch.randn(3, sum(LENGTHS), HEADS, SIZE, generator=torch.Generator().manual_seed(1))
    return [part.to(dtype).transpose(0, 1).requires_grad_() for part in drawn]


def expected(query: Tensor, key: Tensor, value: Tensor, kept: list[Tensor]) -> Tensor:
    """The formula; `kept` holds what each weight is multiplied with."""
    attended = []
    for number, (q, k, v) in enumerate(
        zip(*(part.double().split(LENGTHS, dim=1) for part in (query, key, value)), strict=True)
    ):
        weights = (q @ k.transpose(1, 2) * SCALING).softmax(-1)
        attended.append((weights * kept[number] @ v).transpose(0, 1))
    return torch.cat(attended)


def results(attended: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """What was attended to and the gradients of something that depends on all of it."""
    found = torch.autograd.grad(attended.double().sin().sum(), inputs)
    return [attended.double(), *(gradient.double() for gradient in found)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("attention", [attend_one_by_one, attend_jagged, attend_padded])
def test_every_token_attends_to_its_own_window(
    attention: Attention, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = rows(dtype)
    everything = [torch.ones(())] * len(LENGTHS)
    right = results(expected(*inputs, everything), inputs)
    mine = results(attention(*inputs, packing(), scaling=SCALING, dropout=0.0), inputs)
    for found, oracle in zip(mine, right, strict=True):
        torch.testing.assert_close(found, oracle, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_dropout_leaves_out_the_same_weights_in_both_directions(
    dtype: torch.dtype, tolerance: float
) -> None:
    """A quarter of 65,536 levels lies below -16,384."""
    inputs = rows(dtype)
    scores = [HEADS * length * length for length in LENGTHS]
    torch.manual_seed(5)
    noise = draw_noise(sum(scores)).split(scores)
    kept = [
        (drawn >= -16_384).double().view(HEADS, length, length) / 0.75
        for drawn, length in zip(noise, LENGTHS, strict=True)
    ]
    torch.manual_seed(5)
    mine = results(attend_one_by_one(*inputs, packing(), scaling=SCALING, dropout=0.25), inputs)
    for found, oracle in zip(mine, results(expected(*inputs, kept), inputs), strict=True):
        torch.testing.assert_close(found, oracle, rtol=tolerance, atol=tolerance)
