"""Which windows make an update, who computes which, how they are cut, and the arrays of a batch.

Pure functions of lengths, seed and update: any process can work out any update's batches. Without
torch but for what makes tensors, so that onnxruntime alone can read windows, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float32Array, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits
from roberta_squad_pipeline.features.tokens import Ragged
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION, Windows

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IndexArray = NDArray[np.int64]


class WindowArrays(NamedTuple):
    """Windows padded to the longest among them, as a reader takes them; see `Batch`."""

    input_ids: IndexArray
    attention_mask: NDArray[np.bool_]
    token_type_ids: IndexArray


class Logits(NamedTuple):
    """What a reader makes of windows, as arrays; see `ReaderOutput`."""

    start: Float32Array
    end: Float32Array
    no_answer: Float32Array


@dataclass(frozen=True, slots=True)
class Packing:
    """How the windows of a batch lie end to end in one row, without padding."""

    lengths: tuple[int, ...]
    """Tokens of each window; known without asking a device."""
    offsets: "Tensor"
    """Window i is row[offsets[i]:offsets[i + 1]]. Shape: (windows + 1,)"""
    tokens: "Tensor"
    """Where the row's tokens stand in the padded windows, read line by line. Shape: (row,)"""


@dataclass(frozen=True, slots=True)
class TeacherOutput:
    """What a teacher says of the windows of a batch."""

    start: "Tensor"
    """Log-probabilities, minus infinity on padding. Shape: (windows, tokens)"""
    end: "Tensor"
    """Shape: (windows, tokens)"""
    no_answer: "Tensor"
    """Logits. Shape: (windows,)"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded to the longest among them."""

    input_ids: "Tensor"
    """Shape: (windows, tokens)"""
    attention_mask: "Tensor"
    """True where there is a token, False on padding. Shape: (windows, tokens)"""
    token_type_ids: "Tensor"
    """1 on the second of the two texts and the ``</s>`` after it, 0 elsewhere.
    Shape: (windows, tokens)"""
    start: "Tensor"
    """Window position of the answer's first token, 0 in a no-answer window, or `UNLABELLED`.
    Shape: (windows,)"""
    end: "Tensor"
    """Window position of the answer's last token, 0, or `UNLABELLED`. Shape: (windows,)"""
    plausible_start: "Tensor"
    """Window position of the first token of what only seems to answer, 0 where there is nothing.
    Shape: (windows,)"""
    plausible_end: "Tensor"
    """Window position of its last token, or 0. Shape: (windows,)"""
    packing: Packing | None = None
    """For encoders that need no padding; without it windows are read with their padding."""
    teacher: TeacherOutput | None = None
    """Where a student learns from one."""
    order: Order = "passage_first"
    """Of the two texts."""

    @property
    def question_mask(self) -> "Tensor":
        """True on the question's side of a window.

        That is from its first token on, or from ``<s>`` where it comes first, to the separator
        after it.

        Returns:
            Shape: (windows, tokens)
        """
        side = 0 if self.order == "question_first" else 1
        return self.attention_mask & (self.token_type_ids == side)

    def to(self, device: "torch.device") -> "Batch":
        """The same batch on another device; the copy is not waited for."""
        packing = self.packing and Packing(
            self.packing.lengths,
            _moved(self.packing.offsets, device),
            _moved(self.packing.tokens, device),
        )
        teacher = self.teacher and TeacherOutput(
            _moved(self.teacher.start, device),
            _moved(self.teacher.end, device),
            _moved(self.teacher.no_answer, device),
        )
        return Batch(
            _moved(self.input_ids, device),
            _moved(self.attention_mask, device),
            _moved(self.token_type_ids, device),
            _moved(self.start, device),
            _moved(self.end, device),
            _moved(self.plausible_start, device),
            _moved(self.plausible_end, device),
            packing,
            teacher,
            self.order,
        )


def _moved(tensor: "Tensor", device: "torch.device") -> "Tensor":
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    # Only from memory that stays where it is can a GPU fetch by itself.
    return tensor.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, slots=True, eq=False)
class Thinning:
    """Windows without a label of which each epoch draws only some; compared by identity.

    Each epoch draws different ones.
    """

    thinned: NDArray[np.bool_]
    """Which windows they are. Shape: (windows,)"""
    kept: int
    """How many of them an epoch draws."""


def thinning_of(windows: Windows, empty_windows: Literal["keep"] | float) -> Thinning | None:
    """Works out which windows are thinned: those of long passages that hold no answer.

    Windows that hold all of their passage, a gold answer or a plausible one are always drawn.

    Args:
        windows: Of the training data.
        empty_windows: The share of the others that an epoch draws; `"keep"` draws all.
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
    """How many of all windows an epoch draws."""
    return windows if thinning is None else windows - int(thinning.thinned.sum()) + thinning.kept


def update_windows(
    windows: int, batch_size: int, seed: int, update: int, thinning: Thinning | None = None
) -> IndexArray:
    """The windows of one update: a uniform draw without replacement from an epoch.

    Epochs are permutations of all windows that they draw, laid end to end; an update takes the next
    `batch_size` of that sequence, so one in the middle of the run may straddle two epochs.

    Args:
        windows: How many there are.
        batch_size: Windows per update, all processes and micro-batches together.
        seed: Of the order.
        update: Counted from 1.
        thinning: Which windows an epoch draws only some of.

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
    # The first of them in a random order are a uniform draw.
    thinned = thinning.thinned[order]
    return order[~thinned | (np.cumsum(thinned) <= thinning.kept)]


@dataclass(frozen=True, slots=True)
class UpdateSplit:
    """How the windows of an update are shared out to processes and cut into micro-batches."""

    processes: int
    lanes: int
    """Lanes of each process."""
    share: int
    """Windows of each lane."""
    accumulation: int
    """Micro-batches of each lane; their sizes differ by one at most."""

    @property
    def shares(self) -> int:
        """Lanes of all processes together."""
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
    """Works out the share of each process, so that results do not depend on how many there are.

    Args:
        batch_size: Windows per update, all processes together.
        processes: How many there are.
        micro_batch: Most windows that a process has in forward and backward passes at once.
        lanes: Of each process; they divide its share.

    Raises:
        InputError: The windows cannot be shared out evenly.
    """
    share, rest = divmod(batch_size, processes)
    if rest:
        possible = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
        below = max(n for n in possible if n < processes)
        raise InputError(
            where="training.batch_size",
            got=f"{batch_size} windows per update for {processes} processes",
            expected=f"a batch size that {processes} divides",
            remedy=f"Run {below} processes, or choose an experiment of another batch size.",
        )
    return UpdateSplit(processes, lanes, share // lanes, -(-share // max(micro_batch, lanes)))


def micro_batches(
    drawn: IndexArray, tokens: IntArray, split: UpdateSplit, number: int
) -> list[IndexArray]:
    """Cuts a lane's share of an update into pieces of like length.

    Lengths are sorted within the update and never across updates, so that an update stays a uniform
    draw. Every lane gets as many windows and about as many tokens as the others: windows are dealt
    out one at a time from the longest on, each to the lane that has the fewest tokens.

    Args:
        drawn: The update's windows. Shape: (batch_size,)
        tokens: Length of every window there is, in tokens. Shape: (windows,)
        split: How they are shared out and cut.
        number: The lane's, counted over the lanes of all processes.

    Returns:
        Window indices, the longest windows first, so that memory runs out at once or never.
    """
    by_length = drawn[np.argsort(-tokens[drawn], kind="stable")]
    owner = _deal(tokens[by_length], split)
    return list(np.array_split(by_length[owner == number], split.accumulation))


def _deal(tokens: IntArray, split: UpdateSplit) -> IndexArray:
    """Whose each window is, windows sorted by length. Shape: (batch_size,)."""
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
    """Cuts all windows into batches of like length, for inference.

    Args:
        tokens: Length of every window in tokens. Shape: (windows,)
        batch_windows: Most windows in a batch.

    Yields:
        Window indices, the longest windows first. Shape: (at most batch_windows,)
    """
    by_length = np.argsort(-tokens, kind="stable")
    for first in range(0, len(by_length), batch_windows):
        yield by_length[first : first + batch_windows]


def window_arrays(features: Features, indices: IndexArray) -> WindowArrays:
    """Lays out passage and question of each window and pads to the longest.

    Args:
        features: Where the tokens are, and in which order they are laid out.
        indices: Which windows. Shape: (windows,)
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
        # What neither of the two texts covers stays a separator.
        input_ids[row, :length] = special.sep
        input_ids[row, 0] = special.cls
        input_ids[row, text : text + count] = passage[first : first + count]
        input_ids[row, query : query + len(asked)] = asked
        attention_mask[row, :length] = True
        token_type_ids[row, max(text, query) : length] = 1
    return WindowArrays(input_ids, attention_mask, token_type_ids)


def assemble(features: Features, indices: IndexArray) -> Batch:
    """Makes tensors of windows, with their labels and how they lie end to end.

    Args:
        features: See `window_arrays`.
        indices: Which windows. Shape: (windows,)
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
        _packing(arrays.attention_mask),
        _teacher_output(features.teacher, indices, arrays.attention_mask),
        features.meta.windows.order,
    )


def _teacher_output(
    teacher: TeacherLogits | None, indices: IndexArray, attention_mask: NDArray[np.bool_]
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


def _packing(attention_mask: NDArray[np.bool_]) -> Packing:
    import torch

    lengths = attention_mask.sum(1)
    return Packing(
        tuple(lengths.tolist()),
        torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])),
        torch.from_numpy(np.flatnonzero(attention_mask)),
    )
