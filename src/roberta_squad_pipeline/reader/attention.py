"""Attention within each of many windows that lie end to end in one row.

It is registered with transformers under the name `ATTENTION`. An encoder with this attention passes
on the row's `Packing`; everything else in the encoder looks at one token at a time. Without a
packing, this is transformers' own attention over padded windows.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from roberta_squad_pipeline.reader.batching import Packing
from roberta_squad_pipeline.reader.device import products_are_fast
from roberta_squad_pipeline.reader.dropout import draw_mask, keep

ATTENTION = "within_windows"

_FLASH_SINCE = (8, 0)
"""Compute capability of the oldest GPUs with a flash kernel."""
_FLASH_MOST = 192
"""The largest head that all of these take in the backward pass, with dropout."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    packing: Packing | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention from every token to all tokens of its window.

    Args:
        module: The encoder's attention layer.
        query: Shape: (1, heads, tokens, size), or (windows, heads, tokens, size) without packing.
        key: Shape: as query.
        value: Shape: as query.
        attention_mask: None with a packing.
        scaling: Factor of the scores.
        dropout: Probability that a weight is dropped.
        packing: Where the windows are in the row.
        others: Other arguments of transformers' attention.

    Returns:
        The attended values, shape (1, tokens, heads, size), and None in the place of weights.
    """
    if packing is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **others
        )
    within = _kernel(query, dropout)
    return within(query[0], key[0], value[0], packing, scaling=scaling, dropout=dropout)[None], None


def _kernel(query: Tensor, dropout: float) -> Callable[..., Tensor]:
    """The fastest function for the query's device and number format."""
    if query.device.type == "cpu":
        fused = query.dtype == torch.float32 and not dropout and not products_are_fast()
        return attend_fused if fused else attend_one_by_one
    return attend_flash if _flash_takes(query) else attend_padded


def _flash_takes(query: Tensor) -> bool:
    """Whether there is a flash kernel: for 16 bits, heads of some sizes, and Ampere or newer."""
    size = query.shape[-1]
    return (
        query.dtype in {torch.float16, torch.bfloat16}
        and size % 8 == 0
        and size <= _FLASH_MOST
        and torch.cuda.get_device_capability(query.device) >= _FLASH_SINCE
    )


def attend_flash(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, *, scaling: float, dropout: float
) -> Tensor:
    """Computes attention by torch's flash kernel for windows of unequal length, in one call.

    The kernel is torch's own for nested tensors, too, but what is done for these in Python took
    longer than all kernels of an update of RoBERTa large together (H200, torch 2.11). torch's
    `varlen_attn` would be public, but has no dropout.

    Returns:
        Shape: (tokens, heads, size)
    """
    attended, *_ = torch.ops.aten._flash_attention_forward.default(
        *(part.transpose(0, 1) for part in (query, key, value)),
        packing.offsets,
        packing.offsets,
        packing.longest,
        packing.longest,
        dropout,
        False,  # is_causal
        False,  # return_debug_mask
        scale=scaling,
    )
    return cast(Tensor, attended)


def attend_padded(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, *, scaling: float, dropout: float
) -> Tensor:
    """Computes attention by torch's kernels for windows of equal length, padded only for this.

    Returns:
        Shape: (tokens, heads, size)
    """
    heads, _, size = query.shape
    shape = len(packing.offsets) - 1, packing.longest
    places = shape[0] * shape[1]

    def padded(part: Tensor) -> Tensor:
        wide = part.new_zeros(places, heads, size)
        wide = wide.index_copy(0, packing.tokens, part.transpose(0, 1))
        return wide.view(*shape, heads, size).transpose(1, 2)

    mask = torch.zeros(places, dtype=torch.bool, device=query.device)
    mask = mask.index_fill(0, packing.tokens, value=True).view(shape[0], 1, 1, shape[1])
    attended = F.scaled_dot_product_attention(
        padded(query), padded(key), padded(value), attn_mask=mask, dropout_p=dropout, scale=scaling
    )
    return attended.transpose(1, 2).reshape(places, heads, size)[packing.tokens]


def attend_fused(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, *, scaling: float, dropout: float
) -> Tensor:
    """Computes attention by torch's kernel for the CPU, window by window, with no score kept.

    In 32 bits and without dropout it takes a third less time than `attend_one_by_one` where no
    gradients are needed. With gradients it takes 7 % less to 10 % more, and less of that in Python,
    for which lanes wait in turn.

    Returns:
        Shape: (tokens, heads, size)
    """
    parts = (part[None].split_with_sizes(packing.lengths, 2) for part in (query, key, value))
    attended = [
        F.scaled_dot_product_attention(
            queries, keys, values, dropout_p=dropout, scale=scaling
        ).transpose(1, 2)
        for queries, keys, values in zip(*parts, strict=True)
    ]
    return torch.cat(attended, 1)[0]


# Not compiled, since each new combination of lengths would be compiled again.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def attend_one_by_one(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, *, scaling: float, dropout: float
) -> Tensor:
    """Computes attention by plain matrix products, window by window.

    On the CPU, this takes less than half the time of torch's fused attention in bf16, with and
    without dropout.

    Returns:
        Shape: (tokens, heads, size)
    """
    attended = _OneByOne.apply(query, key, value, packing.lengths, scaling, dropout)  # type: ignore[no-untyped-call]
    return cast(Tensor, attended)


class _OneByOne(torch.autograd.Function):
    """Scores have 32 bits, as in fused attention; all else is in the values' number format.

    Let P be the weights, M the dropout mask, c the probability to keep a weight, and
    dP = M∘(dO Vᵀ) / c. Then the scores' gradient is P∘(dP - rowsum(dP∘P)). Since dP is rounded
    before it is summed, a row of gradients still adds up to 0: they are no less exact in bf16 than
    those of fused attention (benchmarks/results/avx512_cpu_2026-11-28.md).
    """

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd gives all by position)
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lengths: tuple[int, ...],
        scaling: float,
        dropout: float,
    ) -> Tensor:
        heads, tokens, size = query.shape
        mask, keep_probability = None, 1.0
        if dropout:
            count = heads * sum(length * length for length in lengths)
            mask, keep_probability = draw_mask(count, dropout)
        attended = value.new_empty(tokens, heads, size)
        saved = []
        with torch.autocast("cpu", enabled=False):
            wide_query, wide_key = query.float() * scaling, key.float()
            for window, square in _squares(heads, lengths):
                scores = torch.bmm(wide_query[:, window], wide_key[:, window].transpose(1, 2))
                # In place, since memory that is new to the process takes as long as the softmax.
                weights = torch.softmax(scores, -1, out=scores).to(value.dtype)
                if any(ctx.needs_input_grad):
                    saved.append(weights)
                dropped = _apply_dropout(weights, mask, square)
                attended[window] = torch.bmm(dropped, value[:, window]).transpose(0, 1)
            attended /= keep_probability
        ctx.lengths, ctx.scaling, ctx.keep_probability = lengths, scaling, keep_probability
        ctx.save_for_backward(query, key, value, mask, *saved)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, *saved = ctx.saved_tensors
        attended_gradient = (gradients[0] / ctx.keep_probability).transpose(0, 1).contiguous()
        query_gradient, key_gradient, value_gradient = (
            torch.empty_like(part) for part in (query, key, value)
        )
        with torch.autocast("cpu", enabled=False):
            for (window, square), weights in zip(
                _squares(len(query), ctx.lengths), saved, strict=True
            ):
                gradient = attended_gradient[:, window]
                value_gradient[:, window] = torch.bmm(
                    _apply_dropout(weights, mask, square).transpose(1, 2), gradient
                )
                weights_gradient = _apply_dropout(
                    torch.bmm(gradient, value[:, window].transpose(1, 2)), mask, square
                )
                scores_gradient = torch._softmax_backward_data(
                    weights_gradient, weights, -1, weights.dtype
                )
                query_gradient[:, window] = torch.bmm(scores_gradient, key[:, window])
                key_gradient[:, window] = torch.bmm(
                    scores_gradient.transpose(1, 2), query[:, window]
                )
        query_gradient *= ctx.scaling
        key_gradient *= ctx.scaling
        return query_gradient, key_gradient, value_gradient, None, None, None


def _squares(heads: int, lengths: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """The slice of each window in the row, and that of its scores among all scores."""
    token = score = 0
    for length in lengths:
        scores = heads * length * length
        yield slice(token, token + length), slice(score, score + scores)
        token, score = token + length, score + scores


def _apply_dropout(weights: Tensor, mask: Tensor | None, square: slice) -> Tensor:
    """Sets some of a window's weights to 0."""
    return weights if mask is None else keep(weights, mask[square].view(weights.shape))


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
