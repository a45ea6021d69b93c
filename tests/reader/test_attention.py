"""Attention within windows that lie end to end.

Oracle: softmax(QKᵀ · scaling)V window by window in float64, dropout's mask between them, and
autograd's gradients of that.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch import Tensor

from roberta_squad_pipeline.reader import attention
from roberta_squad_pipeline.reader.attention import (
    attend,
    attend_fused,
    attend_one_by_one,
    attend_padded,
)
from roberta_squad_pipeline.reader.batching import Packing
from roberta_squad_pipeline.reader.device import fast_products
from roberta_squad_pipeline.reader.dropout import draw_mask

pytestmark = pytest.mark.usefixtures("one_thread")
Attention = Callable[..., Tensor]
flash_forward = torch.ops.aten._flash_attention_forward.default
LENGTHS = (5, 33, 1, 12, 33)
HEADS, SIZE, SCALING = 3, 8, 0.35


def packing(lengths: tuple[int, ...] = LENGTHS) -> Packing:
    offsets = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
    longest = max(lengths)
    tokens = [torch.arange(length) + row * longest for row, length in enumerate(lengths)]
    return Packing(lengths, longest, offsets, torch.cat(tokens))


def on_device(packing: Packing, device: str) -> Packing:
    return replace(packing, offsets=packing.offsets.to(device), tokens=packing.tokens.to(device))


def rows(dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values as an encoder hands them on: heads before tokens, by a view."""
    drawn = torch.randn(3, sum(LENGTHS), HEADS, SIZE, generator=torch.Generator().manual_seed(1))
    return [part.to(dtype).transpose(0, 1).requires_grad_() for part in drawn]


def expected(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kept: list[Tensor],
    lengths: tuple[int, ...] = LENGTHS,
) -> Tensor:
    """The formula; `kept` holds what each weight is multiplied with."""
    attended = []
    for number, (q, k, v) in enumerate(
        zip(*(part.double().split(lengths, dim=1) for part in (query, key, value)), strict=True)
    ):
        weights = (q @ k.transpose(1, 2) * SCALING).softmax(-1)
        attended.append((weights * kept[number] @ v).transpose(0, 1))
    return torch.cat(attended)


def results(attended: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """What was attended to and the gradients of something that depends on all of it."""
    found = torch.autograd.grad(attended.double().sin().sum(), inputs)
    return [attended.double(), *(gradient.double() for gradient in found)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("attention", [attend_one_by_one, attend_fused, attend_padded])
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
    inputs = rows(dtype)
    scores = [HEADS * length * length for length in LENGTHS]
    torch.manual_seed(5)
    mask, _ = draw_mask(sum(scores), 0.25)
    kept = [
        drawn.double().view(HEADS, length, length) / 0.75
        for drawn, length in zip(mask.split(scores), LENGTHS, strict=True)
    ]
    torch.manual_seed(5)
    mine = results(attend_one_by_one(*inputs, packing(), scaling=SCALING, dropout=0.25), inputs)
    for found, oracle in zip(mine, results(expected(*inputs, kept), inputs), strict=True):
        torch.testing.assert_close(found, oracle, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("by_onednn", "kernel"), [(True, "one_by_one"), (False, "fused")])
def test_fp32_is_attended_by_the_fastest_kernel(by_onednn: bool, kernel: str) -> None:
    """Oracle: the measured times of both."""
    query, key, value = rows(torch.float32)
    chosen = mock.Mock(return_value=query[0])
    context = fast_products(torch.device("cpu"), may_round=True) if by_onednn else nullcontext()
    with mock.patch.object(attention, f"attend_{kernel}", chosen), context:
        attend(
            mock.Mock(),
            *(p[None] for p in (query, key, value)),
            None,
            scaling=1.0,
            packing=packing(),
        )
    chosen.assert_called_once()


@pytest.mark.parametrize(
    ("dtype", "size", "capability", "flash"),
    [
        (torch.bfloat16, 64, (9, 0), True),
        (torch.float16, 192, (8, 6), True),
        (torch.float32, 64, (9, 0), False),
        (torch.float16, 64, (7, 5), False),
        (torch.float16, 20, (9, 0), False),
        (torch.float16, 200, (8, 6), False),
    ],
)
def test_flash_attention_is_taken_where_there_is_a_kernel(
    dtype: torch.dtype, size: int, capability: tuple[int, int], flash: bool
) -> None:
    """Oracle: the rules of torch's flash kernel, with gradients and dropout, on all such GPUs."""
    laid_out = packing()
    row = torch.empty(1, HEADS, sum(LENGTHS), size, dtype=dtype, device="meta")
    with (
        mock.patch("torch.cuda.get_device_capability", return_value=capability),
        mock.patch("torch.ops.aten._flash_attention_forward.default", wraps=flash_forward) as seen,
    ):
        found, _ = attend(
            torch.nn.Module(),
            *(row, row, row, None),
            scaling=SCALING,
            dropout=0.1,
            packing=on_device(laid_out, "meta"),
        )
    assert seen.called is flash
    assert (tuple(found.shape), found.dtype) == ((1, sum(LENGTHS), HEADS, size), dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)],
)
def test_a_gpu_drops_the_same_weights_in_both_directions(
    dtype: torch.dtype, tolerance: float
) -> None:
    """Values that are the identity show which weights the forward pass has kept."""
    lengths, heads, size, dropout = (128, 100, 64, 37, 5), 4, 128, 0.25
    generator = torch.Generator().manual_seed(1)

    def on_gpu(row: Tensor) -> Tensor:
        """Heads before tokens, as an encoder hands them on: (1, heads, tokens, size)."""
        return row.to("cuda", dtype)[None].transpose(1, 2).requires_grad_()

    def drawn() -> Tensor:
        return torch.randn(sum(lengths), heads, size, generator=generator)

    query, key, value = (on_gpu(drawn()) for _ in range(3))
    identity = on_gpu(
        torch.cat([torch.eye(length, size) for length in lengths])[:, None].repeat(1, heads, 1)
    )
    laid_out = packing(lengths)
    laid_out = on_device(laid_out, "cuda")

    def attended(values: Tensor) -> Tensor:
        torch.manual_seed(3)
        found, _ = attend(
            torch.nn.Module(),
            query,
            key,
            values,
            None,
            scaling=SCALING,
            dropout=dropout,
            packing=laid_out,
        )
        return found[0]

    kept = [
        (weights.transpose(0, 1)[..., :length] != 0).double() / (1 - dropout)
        for weights, length in zip(attended(identity).split(lengths), lengths, strict=True)
    ]
    inputs = [query, key, value]
    rows_of_inputs = [part[0] for part in inputs]
    right = results(expected(*rows_of_inputs, kept, lengths), inputs)
    for found, oracle in zip(results(attended(value), inputs), right, strict=True):
        assert (found - oracle).norm() < tolerance * oracle.norm()
