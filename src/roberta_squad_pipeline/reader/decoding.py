"""Logits to best spans: an exact search over every span that is short enough."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Spans(NamedTuple):
    """The best spans of each window, best first.

    Every tensor has the shape (windows, spans); where a window has fewer spans, the rest score
    minus infinity.
    """

    score: Tensor
    """Start logit plus end logit."""
    start: Tensor
    """Window position of the first token."""
    end: Tensor
    """Window position of the last token."""


def best_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    *,
    first_start: Tensor,
    last_start: Tensor,
    last_end: Tensor,
    max_answer_tokens: int,
    n_best: int,
) -> Spans:
    """Finds the spans with the highest sum of start and end logit.

    Args:
        start_logits: Shape: (windows, tokens)
        end_logits: Shape: (windows, tokens)
        first_start: First position where a span may start. Shape: (windows,)
        last_start: Last position where a span may start. Shape: (windows,)
        last_end: Last position where a span may end. Shape: (windows,)
        max_answer_tokens: Tokens of a span at most.
        n_best: Spans wanted of each window.

    Returns:
        `n_best` spans a window, fewer where all windows together have no place for as many.
    """
    tokens = start_logits.shape[1]
    position = torch.arange(tokens, device=start_logits.device)
    may_start = (position >= first_start[:, None]) & (position <= last_start[:, None])
    may_end = position <= last_end[:, None]
    start = start_logits.masked_fill(~may_start, float("-inf"))
    end = end_logits.masked_fill(~may_end, float("-inf"))
    # Column d of a row of `ends` is the end logit d tokens behind that row's token.
    ends = F.pad(end, (0, max_answer_tokens - 1), value=float("-inf")).unfold(
        1, max_answer_tokens, 1
    )
    scores = (start[..., None] + ends).flatten(1)
    score, span = scores.topk(min(n_best, scores.shape[1]))
    first = span // max_answer_tokens
    return Spans(score, first, first + span % max_answer_tokens)
