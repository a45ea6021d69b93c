"""Reads all windows of a file, and makes one prediction per question."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import BoolArray, Float32Array, IndexArray, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokens import Ragged
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION
from roberta_squad_pipeline.inference.decoding import best_spans
from roberta_squad_pipeline.reader.batching import (
    Batch,
    Logits,
    assemble,
    length_sorted_batches,
    window_arrays,
)
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.onnx_reader import OnnxReader

if TYPE_CHECKING:
    import torch
    from torch import nn

    from roberta_squad_pipeline.reader.model import ReaderOutput

_ONNX_WINDOWS = 8
"""Most windows that onnxruntime reads at once: what it computes with more leaves the processor's
caches."""
_LETTER_BITS = 8
_MORE_SPANS = 4
"""Extra spans in the first search: texts are often repeated among the best, and with 4 more, most
windows need no second search."""
_TINY = 1e-300
"""Smaller than any probability that matters, so that logarithms are finite."""


class Candidate(NamedTuple):
    """A span that may be the answer."""

    text: str
    char_start: int
    """Index of its first character in the passage."""
    char_end: int
    """Index after its last character."""
    score: float
    """Start logit plus end logit."""


class Prediction(NamedTuple):
    """A reader's prediction for a question."""

    question_id: str
    no_answer_logit: float
    """Logit of the answerability head; high values mean unanswerable, at 0 it is undecided."""
    span_no_answer_logit: float
    """Logit of the span head: start plus end logit of ``<s>``, minus that of the best span."""
    candidates: tuple[Candidate, ...]
    """Best first: at least one, and each text only once. Of spans with the same text, only the best
    is listed."""


class WindowSpans(NamedTuple):
    """The best spans of every window of a file, in passage tokens."""

    score: Float32Array
    """Start plus end logit; infinite for the first span if a logit of the window is not finite.
    Shape: (windows, spans)"""
    first: IndexArray
    """First token. Shape: (windows, spans)"""
    last: IndexArray
    """Last token. Shape: (windows, spans)"""
    no_answer: Float32Array
    """Answerability logits. Shape: (windows,)"""
    null_span: Float32Array
    """Start plus end logit of ``<s>``. Shape: (windows,)"""

    @classmethod
    def none(cls, windows: int, spans: int) -> Self:
        """The state before any window is read: the smallest value everywhere."""
        return cls(
            np.full((windows, spans), -np.inf, np.float32),
            np.zeros((windows, spans), np.int64),
            np.zeros((windows, spans), np.int64),
            np.full(windows, -np.inf, np.float32),
            np.full(windows, -np.inf, np.float32),
        )


def predict(
    reader: "nn.Module | OnnxReader",
    features: Features,
    config: InferenceConfig,
    *,
    device: "torch.device | None" = None,
    on_windows: Callable[[int], None],
) -> Iterator[Prediction]:
    """Answers every question of a file.

    Args:
        reader: The reader; it is moved to `device` and put into evaluation mode.
        features: The questions.
        config: How spans are searched and scored.
        device: The device for torch; None for the first GPU, or the CPU if there is none.
        on_windows: Called after each forward pass with the number of its windows.

    Returns:
        Predictions in the order of the features' questions.
    """
    if isinstance(reader, OnnxReader):
        spans = _search_by_onnxruntime(reader, features, config, on_windows)
    else:
        from roberta_squad_pipeline.reader.device import available_device

        spans = search_windows(
            reader,
            features,
            config,
            processes=Processes.alone(device or available_device()),
            on_batch=lambda batch, _: on_windows(len(batch.start)),
        )
    return merge_windows(spans, features, config)


def _search_by_onnxruntime(
    reader: OnnxReader,
    features: Features,
    config: InferenceConfig,
    on_windows: Callable[[int], None],
) -> WindowSpans:
    """Like `search_windows`, without torch."""
    found = WindowSpans.none(len(features.windows.question), config.n_best)
    windows = len(features.window_tokens)
    pieces = max(1, -(-windows // min(_ONNX_WINDOWS, config.batch_windows)))
    batches = list(length_sorted_batches(features.window_tokens, max(1, -(-windows // pieces))))
    count = min(reader.threads, pieces)
    logits_of = reader.in_lanes(count)

    def read(indices: IndexArray) -> int:
        logits = logits_of(window_arrays(features, indices))
        add_spans(found, logits, features, indices, config)
        return len(indices)

    with ThreadPoolExecutor(count) as lanes:
        for read_now in lanes.map(read, batches):
            on_windows(read_now)
    return found


def search_windows(
    reader: "nn.Module",
    features: Features,
    config: InferenceConfig,
    *,
    processes: Processes,
    on_batch: Callable[[Batch, "ReaderOutput"], None],
) -> WindowSpans:
    """Finds the best spans of every window.

    Args:
        reader: See `read_windows`.
        features: The windows.
        config: How windows are read, and spans searched and scored.
        processes: Each reads its share of the batches, and each calls this function.
        on_batch: See `read_windows`.

    Returns:
        The spans of all windows, in every process.
    """
    import torch

    found = WindowSpans.none(len(features.windows.question), config.n_best)

    def search(indices: IndexArray, output: "ReaderOutput") -> None:
        add_spans(found, output.arrays(), features, indices, config)

    read_windows(reader, features, config, processes=processes, use=search, on_batch=on_batch)
    # A process has the smallest value for windows that it did not read. So the maximum over the
    # processes is the value of the one that did.
    for array in found:
        processes.maximum(torch.from_numpy(array))
    return found


def read_windows(
    reader: "nn.Module",
    features: Features,
    config: InferenceConfig,
    *,
    processes: Processes,
    use: Callable[[IndexArray, "ReaderOutput"], None],
    on_batch: Callable[[Batch, "ReaderOutput"], None],
) -> None:
    """Reads every window, in batches of similar length that are the same for any processes.

    Args:
        reader: It is moved to the process's device and put into evaluation mode.
        features: The windows.
        config: How they are read.
        processes: Each reads its share of the batches, and each calls this function.
        use: Called with the indices of a batch and its output, in the thread that has read it.
        on_batch: Called after each forward pass of this process, with the batch and its output.
    """
    import torch

    from roberta_squad_pipeline.reader.device import reading_in
    from roberta_squad_pipeline.reader.lanes import Lanes, lane_count

    device = processes.device
    # To walk through all modules takes a tenth of the time of a single question.
    if reader.training or next(reader.parameters()).device != device:
        reader.to(device).eval()
    batches = list(length_sorted_batches(features.window_tokens, config.batch_windows))

    def read(number: int) -> "tuple[Batch, ReaderOutput]":
        indices = batches[min(number, len(batches) - 1)]
        batch = assemble(features, indices).to(device)
        # Not in inference mode, since weights that FSDP gathers in it could not be trained then.
        with torch.no_grad(), reading_in(config.precision, device):
            output = reader(batch)
        # All processes have to call a sharded reader equally often.
        if number < len(batches):
            use(indices, output)
        return batch, output

    numbers = range(processes.rank, len(batches) + processes.rank, processes.count)
    count = lane_count(device, len(batches)) if processes.count == 1 else 1
    with Lanes(count) as lanes:
        for number, (batch, output) in zip(numbers, lanes.map(read, numbers), strict=True):
            if number < len(batches):
                on_batch(batch, output)


def add_spans(
    found: WindowSpans,
    logits: Logits,
    features: Features,
    indices: IndexArray,
    config: InferenceConfig,
) -> None:
    """Searches the spans of a batch of windows, and stores them with those of all windows.

    Args:
        found: The spans of all windows.
        logits: The reader's logits for this batch.
        features: All windows.
        indices: Indices of the windows in the batch. Shape: (batch,)
        config: How spans are searched. Of spans with the same text, the best is kept.
    """
    windows = features.windows
    question = windows.question[indices]
    offset = windows.first[indices] - features.passage_position[indices]
    start_logits, end_logits, no_answer = logits
    tokens = start_logits.shape[1]
    may_end = _tokens_with_text(features, indices, tokens)
    position = np.arange(tokens) + offset[:, None]
    may_start = may_end & (position >= windows.context_first[indices, None])
    may_start &= position <= windows.context_last[indices, None]
    null_span = start_logits[:, NO_ANSWER_POSITION] + end_logits[:, NO_ANSWER_POSITION]
    found.no_answer[indices], found.null_span[indices] = no_answer, null_span
    unusable = (may_start & ~np.isfinite(start_logits)) | (may_end & ~np.isfinite(end_logits))
    finite = np.isfinite(null_span) & np.isfinite(no_answer) & ~unusable.any(1)
    # `merge_windows` raises the error: if a process raised it here, the others would wait.
    found.score[indices[~finite], 0] = np.inf
    rows, wanted = np.flatnonzero(finite), config.n_best + _MORE_SPANS
    while len(rows):
        spans = best_spans(
            start_logits[rows],
            end_logits[rows],
            may_start=may_start[rows],
            may_end=may_end[rows],
            max_answer_tokens=config.max_answer_tokens,
            n_best=wanted,
        )
        real = np.isfinite(spans.score)
        first, last = (
            np.where(real, each + offset[rows, None], 0) for each in (spans.start, spans.end)
        )
        new = real & ~_repeats(features, question[rows].astype(np.int64), first, last)
        kept = np.argsort(~new, axis=1, kind="stable")[:, : config.n_best]
        row, into = np.arange(len(rows))[:, None], indices[rows]
        score = np.where(new, spans.score, np.float32(-np.inf))
        for array, values in ((found.score, score), (found.first, first), (found.last, last)):
            array[into, : kept.shape[1]] = values[row, kept]
        # If texts are repeated, there may be others after the spans of this search.
        unfinished = real[:, -1] & (new.sum(1) < config.n_best)
        rows = rows[unfinished & (real.shape[1] == wanted)]
        wanted *= 2


def merge_windows(
    spans: WindowSpans, features: Features, config: InferenceConfig
) -> Iterator[Prediction]:
    """Turns spans of windows into one prediction per question, in the features' order.

    Raises:
        InputError: A question has logits that are not finite, or no span.
    """
    question = features.windows.question
    for window in np.flatnonzero(np.isposinf(spans.score[:, 0]))[:1]:
        id_ = features.question_ids[int(question[window])].as_py()
        raise not_finite(f"question {id_}", "reader")
    begins = np.searchsorted(question, np.arange(len(features.question_ids)))
    best, scores = _best_of_questions(spans, features, begins)
    real = np.isfinite(scores)
    counts = real.sum(1).tolist()
    if not all(counts):
        raise InputError(
            where=f"question {features.question_ids[counts.index(0)].as_py()}",
            got="no span that could answer it",
            expected="a passage with at least one word",
            remedy="Look at its passage.",
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
        start, end, score = (of[row, : counts[row]].tolist() for of in (starts, ends, scores))
        texts = [text[begin:after] for begin, after in zip(start, end, strict=True)]
        yield Prediction(
            question_id=question_id,
            no_answer_logit=no_answer[row],
            span_no_answer_logit=span_no_answer[row],
            # Candidates are made in half the time of one call each.
            candidates=tuple(map(Candidate._make, zip(texts, start, end, score, strict=True))),
        )


def not_finite(where: str, model: str) -> InputError:
    """The error of logits that cannot be used.

    Args:
        where: Where they were found.
        model: Whose they are: "reader" or "teacher".
    """
    return InputError(
        where=where,
        got="logits that are infinite or not numbers",
        expected="finite ones",
        remedy=f"Look at the {model}'s weights; if they are sound, 16 bits may be too few: "
        "--params inference.precision=fp32",
    )


def merge_readers(parts: Sequence[Iterable[Prediction]]) -> Iterator[Prediction]:
    """Combines the predictions of readers that may have different tokens.

    For each question, each reader distributes a probability of 1 over its spans and ``<s>``. The
    probability of a span, identified by its characters, is the mean over the readers; it is 0 for a
    reader that does not have the span among its best.

    Args:
        parts: Predictions of each reader, for the same questions in the same order.
    """
    if len(parts) == 1:
        yield from parts[0]
        return
    for predictions in zip(*parts, strict=True):
        yield _merged(predictions)


def _merged(predictions: tuple[Prediction, ...]) -> Prediction:
    no_answer = _TINY
    spans: defaultdict[tuple[int, int, str], float] = defaultdict(lambda: _TINY)
    for each in predictions:
        scores = [one.score for one in each.candidates]
        null = each.span_no_answer_logit + scores[0]
        weights = np.exp(np.array([null, *scores]) - max(null, scores[0]))
        shares = (weights / weights.sum() / len(predictions)).tolist()
        no_answer += shares[0]
        for one, share in zip(each.candidates, shares[1:], strict=True):
            spans[one.char_start, one.char_end, one.text] += share
    by_text: dict[str, Candidate] = {}
    for (start, end, text), share in sorted(spans.items(), key=lambda item: (-item[1], item[0])):
        by_text.setdefault(text, Candidate(text, start, end, math.log(share)))
    candidates = tuple(by_text.values())
    return Prediction(
        question_id=predictions[0].question_id,
        no_answer_logit=sum(each.no_answer_logit for each in predictions) / len(predictions),
        span_no_answer_logit=math.log(no_answer) - candidates[0].score,
        candidates=candidates[: max(len(each.candidates) for each in predictions)],
    )


def _best_of_questions(
    spans: WindowSpans, features: Features, begins: IndexArray
) -> tuple[IndexArray, Float32Array]:
    """Finds the best spans of each question in all its windows, best first.

    Args:
        spans: The spans of all windows.
        features: The windows.
        begins: Index of each question's first window. Shape: (questions,)

    Returns:
        Indices in the flattened spans, of equal scores the earlier; and their scores, minus
        infinity if there are fewer texts. Shapes: (questions, spans)
    """
    windows, count = spans.score.shape
    scores = spans.score.flatten()
    best: IndexArray = begins[:, None] * count + np.arange(count)
    of_question = np.diff(begins, append=windows)
    # Most questions have one window, whose spans are in order and have different texts.
    for several in np.unique(of_question[of_question > 1]):
        (rows,) = np.nonzero(of_question == several)
        places = begins[rows, None] * count + np.arange(several * count)
        order = np.argsort(-scores[places], axis=1, kind="stable")
        places = np.take_along_axis(places, order, axis=1)
        first, last = (each.ravel()[places] for each in (spans.first, spans.last))
        repeats = _repeats(features, rows, first, last)
        scores[places[repeats]] = -np.inf
        order = np.argsort(repeats, axis=1, kind="stable")[:, :count]
        best[rows] = np.take_along_axis(places, order, axis=1)
    return best, scores[best]


def _repeats(
    features: Features, question: IndexArray, first: IndexArray, last: IndexArray
) -> BoolArray:
    """Finds spans with the text of a better span.

    Byte-level BPE may split a character into several tokens, and a name may occur in a passage more
    than once.

    Args:
        features: The questions.
        question: Each row's question. Shape: (rows,)
        first: First passage token of its spans, best first. Shape: (rows, spans)
        last: Last passage token of its spans. Shape: (rows, spans)

    Returns:
        Shape: (rows, spans)
    """
    passages, letters = features.passages, features.passage_letters
    passage = features.question_passage[question, None]
    starts = _at(passages.char_start, passage, first)
    ends = _at(passages.char_end, passage, last)
    # Comparing texts is slow. Equal texts have equal lengths and equal first, middle and last
    # characters, so these numbers are equal, too.
    keys = (ends - starts).astype(np.int64)
    for place in (starts, (starts + ends) // 2, ends - 1):
        keys = (keys << _LETTER_BITS) + _at(letters, passage, place)
    keys.sort(axis=1)
    repeats = np.zeros(first.shape, np.bool_)
    for row in np.flatnonzero((keys[:, 1:] == keys[:, :-1]).any(1)):
        text_of_row = features.passage_texts[int(passage[row, 0])].as_py()
        before: set[str] = set()
        spans = zip(starts[row].tolist(), ends[row].tolist(), strict=True)
        for column, (start, end) in enumerate(spans):
            text = text_of_row[start:end]
            repeats[row, column] = text in before
            before.add(text)
    return repeats


def _tokens_with_text(features: Features, indices: IndexArray, tokens: int) -> BoolArray:
    """Finds the passage tokens that have characters.

    Byte-level BPE makes a token without characters of a space before another space. No span starts
    or ends there: its text might be empty, which would count as abstaining, or end with a space.

    Returns:
        Shape: (windows, tokens)
    """
    windows = features.windows
    passage = features.question_passage[windows.question[indices], None]
    position = np.arange(tokens) - features.passage_position[indices, None]
    inside = (position >= 0) & (position < windows.count[indices, None])
    token = np.where(inside, windows.first[indices, None] + position, 0)
    found: BoolArray = inside & _at(features.tokens_with_text, passage, token)
    return found


def _at(rows: Ragged, row: IntArray, column: IntArray | IndexArray) -> NDArray[Any]:
    values: NDArray[Any] = rows.values[rows.begins[row] + column]
    return values
