"""Finds the best spans by an exact search over all spans that are short enough."""

from typing import NamedTuple

import numpy as np

from roberta_squad_pipeline.common.arrays import BoolArray, Float32Array, IndexArray


class Spans(NamedTuple):
    """The best spans of each window, best first.

    Every array has the shape (windows, spans). If a window has fewer spans, the others have a score
    of minus infinity.
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
    may_start: BoolArray,
    may_end: BoolArray,
    max_answer_tokens: int,
    n_best: int,
) -> Spans:
    """Finds the spans with the highest sum of start and end logit; of equal ones, any.

    Args:
        start_logits: Shape: (windows, tokens)
        end_logits: Shape: (windows, tokens)
        may_start: True where a span may start. Shape: (windows, tokens)
        may_end: True where a span may end. Shape: (windows, tokens)
        max_answer_tokens: The most tokens of a span.
        n_best: Number of spans per window.

    Returns:
        `n_best` spans per window, or fewer if the windows are too short.
    """
    windows, tokens = start_logits.shape
    start = np.where(may_start, start_logits, np.float32(-np.inf))
    ends = np.full((windows, tokens + max_answer_tokens - 1), -np.inf, np.float32)
    np.copyto(ends[:, :tokens], end_logits, where=may_end)
    # The best `n_best` spans start at the `n_best` starts whose own best spans score highest: for
    # any other start, at least `n_best` spans are better.
    starts = _largest(start + _largest_ahead(ends, max_answer_tokens), n_best)
    # Column d of a row of `reached` is the end logit d tokens after the row's start.
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
        count: Number of columns.

    Returns:
        Shape: (rows, count, or fewer if there are fewer columns)
    """
    columns = values.shape[1]
    left_out = max(columns - count, 0)
    # Value and column in one number, since sorting numbers is faster than sorting indices. The bits
    # of floats have the order of the floats, if those of negative ones are flipped.
    bits = values.view(np.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys <<= 32
    keys |= np.arange(columns - 1, -1, -1)
    largest = np.sort(np.partition(keys, left_out, axis=1)[:, left_out:], axis=1)
    found: IndexArray = columns - 1 - (largest[:, ::-1] & 0xFFFFFFFF)
    return found


def _largest_ahead(values: Float32Array, count: int) -> Float32Array:
    """The maximum of `count` values from each column on, as far as there are as many.

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
