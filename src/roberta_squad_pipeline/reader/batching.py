"""Draws an update's windows, divides them among processes, and makes the arrays of a batch.

These are pure functions of lengths, seed and update, so that any process can compute the batches of
any update. Only functions that make tensors import torch: onnxruntime can read windows without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from roberta_squad_pipeline.common.arrays import BoolArray, Float32Array, IndexArray, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits
from roberta_squad_pipeline.features.tokens import Ragged
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION, Windows

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class WindowArrays(NamedTuple):
    """Windows padded to the longest of them, as arrays; see `Batch`."""

    input_ids: IndexArray
    attention_mask: BoolArray
    token_type_ids: IndexArray


class Logits(NamedTuple):
    """A reader's output for windows, as arrays; see `ReaderOutput`."""

    start: Float32Array
    end: Float32Array
    no_answer: Float32Array


@dataclass(frozen=True, slots=True)
class Packing:
    """How the windows of a batch are laid end to end in one row, without padding."""

    lengths: tuple[int, ...]
    """Number of tokens of each window; known without waiting for a device."""
    longest: int
    """Number of tokens of the longest window: beside `lengths`, for each combination of which
    torch.compile would compile again."""
    offsets: "Tensor"
    """Window i is row[offsets[i]:offsets[i + 1]], in the 32 bits that kernels ask for.
    Shape: (windows + 1,)"""
    tokens: "Tensor"
    """Index of each of the row's tokens in the flattened padded windows. Shape: (row,)"""


@dataclass(frozen=True, slots=True)
class TeacherOutput:
    """A teacher's output for the windows of a batch."""

    start: "Tensor"
    """Log-probabilities of start positions, minus infinity on padding. Shape: (windows, tokens)"""
    end: "Tensor"
    """Log-probabilities of end positions. Shape: (windows, tokens)"""
    no_answer: "Tensor"
    """No-answer logits. Shape: (windows,)"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded to the longest of them."""

    input_ids: "Tensor"
    """Shape: (windows, tokens)"""
    attention_mask: "Tensor"
    """True where there is a token, False on padding. Shape: (windows, tokens)"""
    token_type_ids: "Tensor"
    """1 for the second text and the ``</s>`` after it, 0 elsewhere. Shape: (windows, tokens)"""
    start: "Tensor"
    """Window position of the answer's first token, 0 in a no-answer window, or `UNLABELLED`.
    Shape: (windows,)"""
    end: "Tensor"
    """Window position of the answer's last token, 0, or `UNLABELLED`. Shape: (windows,)"""
    plausible_start: "Tensor"
    """Window position of the first token of a plausible answer, 0 if there is none.
    Shape: (windows,)"""
    plausible_end: "Tensor"
    """Window position of its last token, 0 if there is none. Shape: (windows,)"""
    packing: Packing | None = None
    """For encoders that need no padding; None for reading windows with their padding."""
    teacher: TeacherOutput | None = None
    """None if there is no teacher."""
    order: Order = "passage_first"
    """The order of the two texts."""

    @property
    def question_mask(self) -> "Tensor":
        """True on the question's side of a window.

        That is from its first token, or from ``<s>`` if the question comes first, to the separator
        after it.

        Returns:
            Shape: (windows, tokens)
        """
        return self.attention_mask & (self.token_type_ids == self.question_type)

    @property
    def question_type(self) -> int:
        """The token type of the question's side."""
        return 0 if self.order == "question_first" else 1

    def to(self, device: "torch.device") -> "Batch":
        """Copies the batch to another device, without waiting for the end of the copy."""
        batch: Batch = _moved(self, device)
        return batch


def _moved(value: Any, device: "torch.device") -> Any:
    """A tensor, or a record with all its tensors, on another device; other values stay."""
    if isinstance(value, Batch | Packing | TeacherOutput):
        names = [field.name for field in fields(value)]
        return replace(value, **{name: _moved(getattr(value, name), device) for name in names})
    if not hasattr(value, "pin_memory"):
        return value
    if device.type != "cuda" or value.is_cuda:
        return value.to(device)
    # A GPU can fetch by itself only from memory that stays where it is.
    return value.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, slots=True, eq=False)
class Thinning:
    """Windows without a label; each epoch draws different ones of them. Compared by identity."""

    thinned: BoolArray
    """True for these windows. Shape: (windows,)"""
    kept: int
    """Number of these windows that an epoch draws."""


def thinning_of(windows: Windows, empty_windows: Literal["keep"] | float) -> Thinning | None:
    """Finds the windows of long passages that contain no answer.

    Windows that contain their whole passage, a gold answer or a plausible one are always drawn.

    Args:
        windows: The windows of the training data.
        empty_windows: The share of the other windows that an epoch draws; `"keep"` draws all.
    """
    if empty_windows == "keep":
        return None
    several = (np.bincount(windows.question) > 1)[windows.question]
    unlabelled = (windows.start == NO_ANSWER_POSITION) & (
        windows.plausible_start == NO_ANSWER_POSITION
    )
    thinned = several & unlabelled
    return Thinning(thinned, round(empty_windows * int(thinned.sum())))


def epoch_windows(windows: int, thinning: Thinning | None) -> int:
    """Number of windows that an epoch draws."""
    return windows if thinning is None else windows - int(thinning.thinned.sum()) + thinning.kept


def update_windows(
    windows: int, batch_size: int, seed: int, update: int, thinning: Thinning | None = None
) -> IndexArray:
    """Draws the windows of one update, uniformly and without replacement in an epoch.

    Each epoch is a permutation of its windows, and epochs are laid end to end. An update takes the
    next `batch_size` windows of that sequence, and may straddle two epochs.

    Args:
        windows: Number of windows.
        batch_size: Windows per update, over all processes and micro-batches.
        seed: Seed of the order.
        update: Counted from 1.
        thinning: The windows of which an epoch draws only some.

    Returns:
        Window indices. Shape: (batch_size,)
    """
    position = np.arange((update - 1) * batch_size, update * batch_size)
    epoch, rank = np.divmod(position, epoch_windows(windows, thinning))
    drawn = np.empty(batch_size, np.int64)
    for value in np.unique(epoch):
        within = epoch == value
        drawn[within] = _epoch_order(windows, seed, int(value), thinning)[rank[within]]
    return drawn


@lru_cache(maxsize=2)
def _epoch_order(windows: int, seed: int, epoch: int, thinning: Thinning | None) -> IndexArray:
    order = np.random.default_rng((seed, epoch)).permutation(windows)
    if thinning is None:
        return order
    # The first ones in a random order are a uniform draw.
    thinned = thinning.thinned[order]
    return order[~thinned | (np.cumsum(thinned) <= thinning.kept)]


@dataclass(frozen=True, slots=True)
class UpdateSplit:
    """How an update's windows are divided among processes and into micro-batches."""

    processes: int
    lanes: int
    """Number of lanes in each process."""
    share: int
    """Number of windows for each lane."""
    accumulation: int
    """Number of micro-batches of each lane; their sizes differ by at most one."""

    @property
    def shares(self) -> int:
        """Number of lanes of all processes together."""
        return self.processes * self.lanes

    def __str__(self) -> str:
        whole, rest = divmod(self.share, self.accumulation)
        pieces = f"{whole} or {whole + 1}" if rest else str(whole)
        lanes = f"{self.lanes} (threads) \u00d7 " if self.lanes > 1 else ""
        return (
            f"{self.shares * self.share} windows per update = {self.processes} (processes) "
            f"\u00d7 {lanes}{pieces} (windows) \u00d7 {self.accumulation} (micro-batches)"
        )


def split_update(batch_size: int, processes: int, micro_batch: int, lanes: int = 1) -> UpdateSplit:
    """Computes each process's share, so that results do not depend on the number of processes.

    Args:
        batch_size: Windows per update, over all processes.
        processes: Number of processes.
        micro_batch: The most windows in one forward and backward pass of a process.
        lanes: Number of lanes in each process; they divide its share.

    Raises:
        InputError: The windows cannot be divided evenly.
    """
    share, rest = divmod(batch_size, processes)
    if rest:
        possible = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
        below = max(n for n in possible if n < processes)
        raise InputError(
            where="training.batch_size",
            got=f"{batch_size} windows per update for {processes} processes",
            expected=f"a batch size that {processes} divides",
            remedy=f"Run {below} processes, or choose an experiment with another batch size.",
        )
    return UpdateSplit(processes, lanes, share // lanes, -(-share // max(micro_batch, lanes)))


def micro_batches(
    drawn: IndexArray, tokens: IntArray, split: UpdateSplit, number: int
) -> list[IndexArray]:
    """Cuts a lane's share of an update into pieces of similar length.

    Lengths are sorted within an update but not across updates, so that an update is still a uniform
    draw. All lanes get the same number of windows, and about as many tokens: starting with the
    longest window, each goes to the lane that has the fewest tokens.

    Args:
        drawn: The update's windows. Shape: (batch_size,)
        tokens: Length of every window of the data, in tokens. Shape: (windows,)
        split: How they are divided.
        number: The lane's number among the lanes of all processes.

    Returns:
        Window indices, the longest windows first, so that memory runs out at once or never.
    """
    by_length = drawn[np.argsort(-tokens[drawn], kind="stable")]
    owner = _deal(tokens[by_length], split)
    return list(np.array_split(by_length[owner == number], split.accumulation))


def _deal(tokens: IntArray, split: UpdateSplit) -> IndexArray:
    """Assigns windows, sorted by length, to lanes. Shape: (batch_size,)."""
    owner = np.empty(len(tokens), np.int64)
    held = np.zeros(split.shares, np.int64)
    total = np.zeros(split.shares)
    for window, length in enumerate(tokens):
        to = int(np.argmin(np.where(held < split.share, total, np.inf)))
        owner[window] = to
        held[to] += 1
        total[to] += length
    return owner


def length_sorted_batches(tokens: IntArray, batch_windows: int) -> Iterator[IndexArray]:
    """Cuts all windows into batches of similar length, for inference.

    Args:
        tokens: Length of every window in tokens. Shape: (windows,)
        batch_windows: The most windows in a batch.

    Yields:
        Window indices, the longest windows first. Shape: (at most batch_windows,)
    """
    by_length = np.argsort(-tokens, kind="stable")
    for first in range(0, len(by_length), batch_windows):
        yield by_length[first : first + batch_windows]


def window_arrays(features: Features, indices: IndexArray) -> WindowArrays:
    """Puts together passage and question of each window, and pads to the longest window.

    Args:
        features: The tokens, and the order of the two texts.
        indices: Indices of the windows. Shape: (windows,)
    """
    windows, special = features.windows, features.meta.tokenizer.special_tokens
    lengths = features.window_tokens[indices]
    passage_position = features.passage_position[indices]
    question_position = features.meta.layout.question_position(windows.count[indices])
    shape = len(indices), int(lengths.max())
    input_ids = np.full(shape, special.pad, np.int64)
    attention_mask = np.zeros(shape, np.bool_)
    token_type_ids = np.zeros(shape, np.int64)
    for row, index in enumerate(indices):
        question = windows.question[index]
        passage = features.passages.tokens[features.question_passage[question]]
        asked = features.question_tokens[question]
        first, count = windows.first[index], windows.count[index]
        text, query, length = passage_position[row], question_position[row], lengths[row]
        # Positions outside of the two texts are separators.
        input_ids[row, :length] = special.sep
        input_ids[row, 0] = special.cls
        input_ids[row, text : text + count] = passage[first : first + count]
        input_ids[row, query : query + len(asked)] = asked
        attention_mask[row, :length] = True
        token_type_ids[row, max(text, query) : length] = 1
    return WindowArrays(input_ids, attention_mask, token_type_ids)


def assemble(features: Features, indices: IndexArray) -> Batch:
    """Makes the tensors of windows, with their labels and their packing.

    Args:
        features: See `window_arrays`.
        indices: Indices of the windows. Shape: (windows,)
    """
    import torch

    windows, arrays = features.windows, window_arrays(features, indices)

    def label(positions: IntArray) -> "Tensor":
        return torch.from_numpy(positions[indices].astype(np.int64))

    return Batch(
        torch.from_numpy(arrays.input_ids),
        torch.from_numpy(arrays.attention_mask),
        torch.from_numpy(arrays.token_type_ids),
        label(windows.start),
        label(windows.end),
        label(windows.plausible_start),
        label(windows.plausible_end),
        packing_of(arrays.attention_mask),
        _teacher_output(features.teacher, indices, arrays.attention_mask),
        features.meta.windows.order,
    )


def _teacher_output(
    teacher: TeacherLogits | None, indices: IndexArray, attention_mask: BoolArray
) -> TeacherOutput | None:
    if teacher is None:
        return None

    import torch

    def padded(rows: Ragged) -> "Tensor":
        values = np.full(attention_mask.shape, -np.inf, np.float32)
        values[attention_mask] = np.concatenate([rows[index] for index in indices.tolist()])
        return torch.from_numpy(values)

    no_answer = torch.from_numpy(teacher.no_answer[indices])
    return TeacherOutput(padded(teacher.start), padded(teacher.end), no_answer)


def packing_of(attention_mask: BoolArray) -> Packing:
    """The packing of padded windows.

    Args:
        attention_mask: Shape: (windows, tokens)
    """
    import torch

    lengths = attention_mask.sum(1)
    return Packing(
        tuple(lengths.tolist()),
        attention_mask.shape[1],
        torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)),
        torch.from_numpy(np.flatnonzero(attention_mask)),
    )
