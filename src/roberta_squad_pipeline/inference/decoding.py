"""Logits to best spans: an exact search over every span that is short enough."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float32Array

IndexArray = NDArray[np.int64]
MaskArray = NDArray[np.bool_]


class Spans(NamedTuple):
    """The best spans of each window, best first.

    Every array has the shape (windows, spans); where a window has fewer spans, the rest score
    minus infinity.
    """

    score: Float32Array
    """Start logit plus end logit."""
    start: IndexArray
    """Window position of the first token."""
    end: IndexArray
    """Window position of the last token."""


def best_spans(
    start_logits: Float32Array,
    end_logits: Float32Array,
    *,
    may_start: MaskArray,
    may_end: MaskArray,
    max_answer_tokens: int,
    n_best: int,
) -> Spans:
    """Finds the spans with the highest sum of start and end logit; of equal ones, any.

    Args:
        start_logits: Shape: (windows, tokens)
        end_logits: Shape: (windows, tokens)
        may_start: Where a span may start. Shape: (windows, tokens)
        may_end: Where a span may end. Shape: (windows, tokens)
        max_answer_tokens: Most tokens of a span.
        n_best: Spans wanted per window.

    Returns:
        `n_best` spans per window, fewer where all windows together have no place for as many.
    """
    windows, tokens = start_logits.shape
    start = np.where(may_start, start_logits, np.float32(-np.inf))
    ends = np.full((windows, tokens + max_answer_tokens - 1), -np.inf, np.float32)
    np.copyto(ends[:, :tokens], end_logits, where=may_end)
    # One of the best `n_best` spans starts at one of as many starts with the best first choices:
    # after any other start, so many spans are better.
    starts = _largest(start + _largest_ahead(ends, max_answer_tokens), n_best)
    # Column d of a row of `reached` is the end logit d tokens after that row's start.
    reached = np.lib.stride_tricks.sliding_window_view(ends, max_answer_tokens, axis=1)
    row = np.arange(windows)[:, None]
    scores = (start[row, starts][..., None] + reached[row, starts]).reshape(windows, -1)
    span = _largest(scores, n_best)
    first = starts[row, span // max_answer_tokens]
    return Spans(scores[row, span], first, first + span % max_answer_tokens)


def _largest(values: Float32Array, count: int) -> IndexArray:
    """Columns of the largest values of each row, largest first; of equal values the leftmost.

    Args:
        values: Shape: (rows, columns)
        count: How many are wanted.

    Returns:
        Shape: (rows, columns wanted, or as many as there are)
    """
    columns = values.shape[1]
    left_out = max(columns - count, 0)
    # One number for each value and column, since numbers are sorted faster than their indices: the
    # bits of a float, those of negative ones turned over, are in the order of the floats.
    bits = values.view(np.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys <<= 32
    keys |= np.arange(columns - 1, -1, -1)
    largest = np.sort(np.partition(keys, left_out, axis=1)[:, left_out:], axis=1)
    found: IndexArray = columns - 1 - (largest[:, ::-1] & 0xFFFFFFFF)
    return found


def _largest_ahead(values: Float32Array, count: int) -> Float32Array:
    """The largest of `count` values from each column on, where there are as many.

    Args:
        values: Shape: (rows, columns)
        count: At least 1.

    Returns:
        Shape: (rows, columns - count + 1)
    """
    covered = 1
    while covered < count:
        step = min(covered, count - covered)
        values = np.maximum(values[:, :-step], values[:, step:])
        covered += step
    return values
