"""A reader over all windows of a file: one prediction a question."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.batching import IndexArray, assemble, length_sorted_batches
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.decoding import best_spans
from roberta_squad_pipeline.reader.device import computing_in
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.squad.features import Features
from roberta_squad_pipeline.squad.windows import FIRST_PASSAGE_POSITION

FloatArray = NDArray[np.float32]


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
    no_answer_score: float
    """High means unanswerable: a logit, 0 where the reader is undecided."""
    candidates: tuple[Candidate, ...]
    """Best first; at least one."""


@dataclass(frozen=True, slots=True)
class WindowSpans:
    """Best spans of every window of a file, in passage tokens."""

    score: FloatArray
    """Shape: (windows, spans)"""
    first: IndexArray
    """Shape: (windows, spans)"""
    last: IndexArray
    """Shape: (windows, spans)"""
    no_answer: FloatArray
    """Answerability logits. Shape: (windows,)"""


def predict(
    reader: ReaderModel,
    features: Features,
    config: InferenceConfig,
    *,
    device: torch.device,
    on_windows: Callable[[int], None],
) -> Iterator[Prediction]:
    """Answers every question of a file.

    Args:
        reader: Moved to `device` and put into evaluation mode.
        features: The questions.
        config: How spans are searched and scored.
        device: Where to compute.
        on_windows: Told after each forward pass how many windows it held.

    Returns:
        Predictions in the order of the features' questions.
    """
    processes = Processes.alone(device)
    spans = search_windows(reader, features, config, processes=processes, on_windows=on_windows)
    return merge_windows(spans, features, config)


@torch.inference_mode()
def search_windows(
    reader: ReaderModel,
    features: Features,
    config: InferenceConfig,
    *,
    processes: Processes,
    on_windows: Callable[[int], None],
) -> WindowSpans:
    """Finds the best spans of every window.

    Batches are the same however many processes share them, so the spans are, too.

    Args:
        reader: Moved to the process's device and put into evaluation mode.
        features: The windows.
        config: How spans are searched and scored.
        processes: Each reads its share of the batches, and each calls this function.
        on_windows: Told after each forward pass of this process how many windows it held.

    Returns:
        The spans of all windows, in every process.
    """
    windows = features.windows
    count = len(windows.question)
    found = WindowSpans(
        np.full((count, config.n_best), -np.inf, np.float32),
        np.zeros((count, config.n_best), np.int64),
        np.zeros((count, config.n_best), np.int64),
        np.full(count, -np.inf, np.float32),
    )
    offset = windows.first - FIRST_PASSAGE_POSITION
    device = processes.device
    reader.to(device).eval()
    batches = list(length_sorted_batches(features.window_tokens, config.batch_windows))
    for indices in batches[processes.rank :: processes.count]:
        with computing_in(config.precision, device):
            output = reader(assemble(features, indices).to(device))
        empty = _empty_tokens(features, indices, output.start_logits.shape[1]).to(device)
        spans = best_spans(
            output.start_logits.masked_fill(empty, float("-inf")),
            output.end_logits.masked_fill(empty, float("-inf")),
            first_start=_on(device, windows.context_first[indices] - offset[indices]),
            last_start=_on(device, windows.context_last[indices] - offset[indices]),
            last_end=_on(device, windows.count[indices] + FIRST_PASSAGE_POSITION - 1),
            max_answer_tokens=config.max_answer_tokens,
            n_best=config.n_best,
        )
        kept = spans.score.shape[1]
        found.score[indices, :kept] = spans.score.cpu().numpy()
        found.first[indices, :kept] = spans.start.cpu().numpy() + offset[indices, None]
        found.last[indices, :kept] = spans.end.cpu().numpy() + offset[indices, None]
        found.no_answer[indices] = output.no_answer_logits.cpu().numpy()
        on_windows(len(indices))
    # What a process did not find itself is the smallest value there.
    for array in (found.score, found.first, found.last, found.no_answer):
        processes.maximum(torch.from_numpy(array))
    return found


def merge_windows(
    spans: WindowSpans, features: Features, config: InferenceConfig
) -> Iterator[Prediction]:
    """Turns spans of windows into one prediction a question, in the features' order."""
    question = features.windows.question
    bounds = np.searchsorted(question, np.arange(len(features.question_ids) + 1))
    for row, question_id in enumerate(features.question_ids.to_pylist()):
        of_question = slice(bounds[row], bounds[row + 1])
        yield Prediction(question_id, *_merge(spans, of_question, features, row, config))


def _empty_tokens(features: Features, indices: IndexArray, tokens: int) -> torch.Tensor:
    """Passage tokens without a character, such as byte-level BPE's space before another space.

    No span starts or ends at one: its text might be empty, which would count as abstaining, or
    end with white space.

    Returns:
        Shape: (windows, tokens)
    """
    windows, passages = features.windows, features.passages
    empty = np.zeros((len(indices), tokens), np.bool_)
    for row, index in enumerate(indices):
        passage = features.question_passage[windows.question[index]]
        first, count = windows.first[index], windows.count[index]
        held = slice(first, first + count)
        inside = slice(FIRST_PASSAGE_POSITION, FIRST_PASSAGE_POSITION + count)
        empty[row, inside] = passages.char_start[passage][held] == passages.char_end[passage][held]
    return torch.from_numpy(empty)


def _merge(
    spans: WindowSpans,
    of_question: slice,
    features: Features,
    row: int,
    config: InferenceConfig,
) -> tuple[float, tuple[Candidate, ...]]:
    """No-answer score and best spans of one question, over all its windows."""
    scores = spans.score[of_question]
    order = np.argsort(-scores, axis=None, kind="stable")[: config.n_best]
    order = order[np.isfinite(scores.ravel()[order])]
    passage = features.question_passage[row]
    text = features.passage_texts[int(passage)].as_py()
    starts = features.passages.char_start[passage][spans.first[of_question].ravel()[order]]
    ends = features.passages.char_end[passage][spans.last[of_question].ravel()[order]]
    candidates = tuple(
        Candidate(text[start:end], int(start), int(end), float(score))
        for start, end, score in zip(starts, ends, scores.ravel()[order], strict=True)
    )
    no_answer = spans.no_answer[of_question]
    best_window = order[0] // scores.shape[1]
    score = no_answer[best_window] if config.null_score == "best_span" else no_answer.min()
    return float(score), candidates


def _on(device: torch.device, positions: NDArray[np.int32]) -> torch.Tensor:
    return torch.from_numpy(positions).to(device)
