"""A reader over all windows of a file: one prediction per question."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roberta_squad_pipeline.common.arrays import Float32Array, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokens import Ragged
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION
from roberta_squad_pipeline.inference.decoding import best_spans
from roberta_squad_pipeline.reader.batching import (
    Batch,
    IndexArray,
    assemble,
    length_sorted_batches,
)
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.device import reading_in
from roberta_squad_pipeline.reader.model import ReaderOutput


@dataclass(frozen=True, slots=True)
class Candidate:
    """A span that might be the answer."""

    text: str
    char_start: int
    """First character in the passage."""
    char_end: int
    """One past the last character."""
    score: float
    """Start logit plus end logit."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a reader says to one question."""

    question_id: str
    no_answer_logit: float
    """Of the answerability head. High means unanswerable; 0 where it is undecided."""
    span_no_answer_logit: float
    """Of the span head: start plus end logit of ``<s>``, less the best span's."""
    texts: list[str]
    """Of the spans that might be the answer, best first; at least one."""
    char_starts: list[int]
    char_ends: list[int]
    scores: list[float]

    @property
    def no_answer_logits(self) -> dict[str, float]:
        """Both, as `NoAnswerLogits` takes them."""
        return {"head": self.no_answer_logit, "span": self.span_no_answer_logit}

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The same spans one by one."""
        columns = (self.texts, self.char_starts, self.char_ends, self.scores)
        return tuple(map(Candidate, *columns))


@dataclass(frozen=True, slots=True)
class WindowSpans:
    """Best spans of every window of a file, in passage tokens."""

    score: Float32Array
    """Shape: (windows, spans)"""
    first: IndexArray
    """Shape: (windows, spans)"""
    last: IndexArray
    """Shape: (windows, spans)"""
    no_answer: Float32Array
    """Answerability logits. Shape: (windows,)"""
    null_span: Float32Array
    """Start plus end logit of ``<s>``. Shape: (windows,)"""

    @classmethod
    def none(cls, windows: int, spans: int) -> Self:
        """What is known before any window was read: the smallest value everywhere."""
        return cls(
            np.full((windows, spans), -np.inf, np.float32),
            np.zeros((windows, spans), np.int64),
            np.zeros((windows, spans), np.int64),
            np.full(windows, -np.inf, np.float32),
            np.full(windows, -np.inf, np.float32),
        )


def predict(
    reader: nn.Module,
    features: Features,
    config: InferenceConfig,
    *,
    device: torch.device,
    on_windows: Callable[[int], None],
) -> Iterator[Prediction]:
    """Answers every question of a file.

    Args:
        reader: Makes a batch a `ReaderOutput`; moved to `device` and put into evaluation mode.
        features: The questions.
        config: How spans are searched and scored.
        device: Where to compute.
        on_windows: Told after each forward pass how many windows it held.

    Returns:
        Predictions in the order of the features' questions.
    """
    processes = Processes.alone(device)
    spans = search_windows(
        reader,
        features,
        config,
        processes=processes,
        on_batch=lambda batch, _: on_windows(len(batch.start)),
    )
    return merge_windows(spans, features, config)


# Not in inference mode: what FSDP gathers in it could not be trained with any more.
@torch.no_grad()
def search_windows(
    reader: nn.Module,
    features: Features,
    config: InferenceConfig,
    *,
    processes: Processes,
    on_batch: Callable[[Batch, ReaderOutput], None],
) -> WindowSpans:
    """Finds the best spans of every window.

    Batches are the same however many processes share them, so the spans are, too.

    Args:
        reader: Makes a batch a `ReaderOutput`; moved to the process's device and put into
            evaluation mode.
        features: The windows.
        config: How spans are searched and scored.
        processes: Each reads its share of the batches, and each calls this function.
        on_batch: Told of each forward pass of this process what it read and made of it.

    Returns:
        The spans of all windows, in every process.
    """
    found = WindowSpans.none(len(features.windows.question), config.n_best)
    device = processes.device
    reader.to(device).eval()
    batches = list(length_sorted_batches(features.window_tokens, config.batch_windows))
    for turn in range(0, len(batches), processes.count):
        number = turn + processes.rank
        indices = batches[min(number, len(batches) - 1)]
        batch = assemble(features, indices).to(device)
        with reading_in(config.precision, device):
            output = reader(batch)
        # One whose weights are shared out has to be called by all processes equally often.
        if number < len(batches):
            add_spans(found, output, features, indices, config)
            on_batch(batch, output)
    # What a process did not find itself is the smallest value there, so that the maximum is what
    # the process that did find it has.
    for array in (found.score, found.first, found.last, found.no_answer, found.null_span):
        processes.maximum(torch.from_numpy(array))
    return found


def add_spans(
    found: WindowSpans,
    output: ReaderOutput,
    features: Features,
    indices: IndexArray,
    config: InferenceConfig,
) -> None:
    """Searches the spans of a batch of windows and puts them with those of the others.

    Args:
        found: What is added to.
        output: The reader's, of these windows.
        features: All windows.
        indices: Which of them were read. Shape: (batch,)
        config: How spans are searched.
    """
    windows = features.windows
    offset = windows.first[indices] - features.passage_position[indices]
    tokens = output.start_logits.shape[1]
    may_end = _tokens_with_text(features, indices, tokens)
    position = np.arange(tokens) + offset[:, None]
    may_start = may_end & (position >= windows.context_first[indices, None])
    may_start &= position <= windows.context_last[indices, None]
    # Spans are searched on the CPU: the one wait for the device that a batch costs.
    start_logits, end_logits, no_answer_logits = (
        logits.cpu().numpy()
        for logits in (output.start_logits, output.end_logits, output.no_answer_logits)
    )
    spans = best_spans(
        start_logits,
        end_logits,
        may_start=may_start,
        may_end=may_end,
        max_answer_tokens=config.max_answer_tokens,
        n_best=config.n_best,
    )
    kept = spans.score.shape[1]
    found.score[indices, :kept] = spans.score
    found.first[indices, :kept] = spans.start + offset[:, None]
    found.last[indices, :kept] = spans.end + offset[:, None]
    found.no_answer[indices] = no_answer_logits
    null_span = start_logits[:, NO_ANSWER_POSITION] + end_logits[:, NO_ANSWER_POSITION]
    found.null_span[indices] = null_span


def merge_windows(
    spans: WindowSpans, features: Features, config: InferenceConfig
) -> Iterator[Prediction]:
    """Turns spans of windows into one prediction per question, in the features' order.

    Raises:
        InputError: A question has no span with a finite score.
    """
    question = features.windows.question
    begins = np.searchsorted(question, np.arange(len(features.question_ids)))
    best = _best_of_questions(spans.score, begins, len(question))
    scores = spans.score.ravel()[best]
    real = np.isfinite(scores)
    counts = real.sum(1).tolist()
    if not all(counts):
        raise InputError(
            where=f"question {features.question_ids[counts.index(0)].as_py()}",
            got="no span with a finite score",
            expected="a passage with at least one word, and logits that are numbers",
            remedy="Look at its passage, and at the reader's weights if the loss was not a number.",
        )
    best_window = best[:, 0] // spans.score.shape[1]
    if config.null_score == "min_window":
        no_answer = np.minimum.reduceat(spans.no_answer, begins).tolist()
    else:
        no_answer = spans.no_answer[best_window].tolist()
    span_no_answer = (spans.null_span[best_window] - scores[:, 0]).tolist()
    passage = features.question_passage.tolist()
    first, last = (np.where(real, each.ravel()[best], 0) for each in (spans.first, spans.last))
    starts = _at(features.passages.char_start, features.question_passage[:, None], first)
    ends = _at(features.passages.char_end, features.question_passage[:, None], last)
    text, of_passage = "", -1
    for row, question_id in enumerate(features.question_ids.to_pylist()):
        if passage[row] != of_passage:
            of_passage = passage[row]
            text = features.passage_texts[of_passage].as_py()
        count = counts[row]
        begins_at, ends_at = starts[row, :count].tolist(), ends[row, :count].tolist()
        texts = [text[start:end] for start, end in zip(begins_at, ends_at, strict=True)]
        yield Prediction(
            question_id=question_id,
            no_answer_logit=no_answer[row],
            span_no_answer_logit=span_no_answer[row],
            texts=texts,
            char_starts=begins_at,
            char_ends=ends_at,
            scores=scores[row, :count].tolist(),
        )


def _best_of_questions(scores: Float32Array, begins: IndexArray, windows: int) -> IndexArray:
    """The best spans of each question over all its windows, best first.

    Args:
        scores: Of each window's spans, best first. Shape: (windows, spans)
        begins: First window of each question. Shape: (questions,)
        windows: In all.

    Returns:
        Places in the flattened scores; of equal scores the earlier. Shape: (questions, spans)
    """
    spans = scores.shape[1]
    best: IndexArray = begins[:, None] * spans + np.arange(spans)
    of_question = np.diff(begins, append=windows)
    # Most questions have one window, whose spans are in order.
    for count in np.unique(of_question[of_question > 1]):
        (rows,) = np.nonzero(of_question == count)
        places = begins[rows, None] * spans + np.arange(count * spans)
        order = np.argsort(-scores.ravel()[places], axis=1, kind="stable")[:, :spans]
        best[rows] = np.take_along_axis(places, order, axis=1)
    return best


def _tokens_with_text(features: Features, indices: IndexArray, tokens: int) -> NDArray[np.bool_]:
    """Passage tokens but for those without a character.

    Byte-level BPE makes such a token of a space before another space. No span starts or ends at
    one: its text might be empty, which would count as abstaining, or end with white space.

    Returns:
        Shape: (windows, tokens)
    """
    windows, passages = features.windows, features.passages
    passage = features.question_passage[windows.question[indices], None]
    position = np.arange(tokens) - features.passage_position[indices, None]
    inside = (position >= 0) & (position < windows.count[indices, None])
    token = np.where(inside, windows.first[indices, None] + position, 0)
    start, end = (_at(each, passage, token) for each in (passages.char_start, passages.char_end))
    found: NDArray[np.bool_] = inside & (start != end)
    return found


def _at(rows: Ragged, row: IntArray, column: IndexArray) -> IntArray:
    values: IntArray = rows.values[rows.begins[row] + column]
    return values
