"""Answers questions by the same steps as a whole file: features, windows, spans."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.progress import progress
from roberta_squad_pipeline.evaluation.calibration import span_margin
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import (
    Candidate,
    Prediction,
    merge_readers,
    predict,
)
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.squad.dataset import Passage, Question

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)

_SHORT = 256
"""The most windows without progress messages; a base encoder reads them in seconds."""

_MISSING = {"None", "nan", "<NA>"}
"""pandas' values for missing texts."""

ANSWER_COLUMNS = {
    "answer": "string",
    "best_span": "string",
    "char_start": "int64",
    "char_end": "int64",
    "answer_probability": "float64",
    "no_answer_probability": "float64",
    "no_answer_score": "float64",
    "threshold": "float64",
    "question_tokens_cut": "int64",
}
"""Columns of an answer's row with their types, except for `candidates` and `error`."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Asked(NamedTuple):
    """A question about a passage."""

    question: str
    passage: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A reader's answer to a question."""

    text: str | None
    """The best span; None if the reader abstains."""
    answer_probability: float
    """Calibrated probability that the passage answers the question and the best span is right."""
    no_answer_probability: float
    """Calibrated probability that the passage does not answer the question."""
    no_answer_score: float
    """The logit that is compared with the threshold; high values mean unanswerable."""
    candidates: tuple[Candidate, ...]
    """Best first; at least one, even if the reader abstains."""
    question_tokens_cut: int
    """Tokens that were cut off the question's end, since it was too long."""

    @property
    def best(self) -> Candidate:
        """The best span and its place, even if the reader abstains."""
        return self.candidates[0]


def answer_questions(
    trained: TrainedReader,
    asked: Sequence[Asked],
    *,
    device: "torch.device | None" = None,
    quiet: bool = False,
) -> list[Answer]:
    """Answers questions about passages of any length.

    Args:
        trained: The reader; it is moved to `device`.
        asked: The questions; a passage with several questions is tokenised once.
        device: See `predict`.
        quiet: Whether to log neither progress nor questions that are cut.

    Returns:
        One answer per question, in the order of `asked`.

    Raises:
        InputError: A question or a passage has no words.
    """
    if not asked:
        return []
    parts = [(part.reader, _features(part, asked)) for part in trained.parts]
    windows = sum(len(features.windows.question) for _, features in parts)
    if not quiet:
        _tell_of_cut_questions(parts[0][1])
    config = _config(trained, device)
    unseen = quiet or windows <= _SHORT
    with nullcontext(lambda _: None) if unseen else progress("read", windows, "windows") as read:
        predictions = merge_readers(
            [
                predict(reader, features, config, device=device, on_windows=read)
                for reader, features in parts
            ]
        )
        # Each part has the questions in the same order, those on one passage together.
        cut = np.max([features.question_tokens_cut for _, features in parts], axis=0).tolist()
        answer_of = {
            prediction.question_id: _answer(prediction, trained, tokens)
            for prediction, tokens in zip(predictions, cut, strict=True)
        }
    return [answer_of[str(number)] for number in range(len(asked))]


def _config(trained: TrainedReader, device: "torch.device | None") -> InferenceConfig:
    """How the reader was tuned to answer, but in 16 bits only if the device is fast in these."""
    tuned = trained.inference
    if tuned.precision == "fp32":
        return tuned
    return tuned.model_copy(update={"precision": trained.fast_precision(device)})


def answers_or_errors(
    trained: TrainedReader, rows: Sequence[object], *, device: "torch.device | None" = None
) -> list[Answer | InputError]:
    """Answers rows, and returns an error for each row that cannot be answered.

    Args:
        trained: The reader; it is moved to `device`.
        rows: See `as_asked`.
        device: See `predict`.

    Returns:
        An answer or an error per row, in the order of `rows`.
    """
    asked = [_asked_or_error(row, number) for number, row in enumerate(rows)]
    valid = [one for one in asked if isinstance(one, Asked)]
    answers = iter(_answers_or_errors(trained, valid, device))
    return [next(answers) if isinstance(one, Asked) else one for one in asked]


def _asked_or_error(row: object, number: int) -> Asked | InputError:
    try:
        return as_asked(row, number)
    except InputError as error:
        return error


def _answers_or_errors(
    trained: TrainedReader, asked: Sequence[Asked], device: "torch.device | None"
) -> list[Answer | InputError]:
    try:
        return [*answer_questions(trained, asked, device=device, quiet=True)]
    except InputError as error:
        if len(asked) == 1:
            return [error]
    # One of them has a text without words, which is only noticed when it is read.
    half = len(asked) // 2
    return [
        *_answers_or_errors(trained, asked[:half], device),
        *_answers_or_errors(trained, asked[half:], device),
    ]


def as_row(found: Answer | InputError | str, threshold: float) -> dict[str, Any]:
    """Makes a row of a table from an answer or an error, with the same columns for both.

    Args:
        found: An answer, or the reason why there is none.
        threshold: No-answer score above which the reader abstains; infinite if it always answers
            or always abstains.
    """
    if not isinstance(found, Answer):
        row: dict[str, Any] = dict.fromkeys(ANSWER_COLUMNS)
        return row | {"candidates": [], "error": str(found)}
    return {
        "answer": None if found.no_answer_score > threshold else found.best.text,
        "best_span": found.best.text,
        "char_start": found.best.char_start,
        "char_end": found.best.char_end,
        "answer_probability": found.answer_probability,
        "no_answer_probability": found.no_answer_probability,
        "no_answer_score": found.no_answer_score,
        "threshold": threshold if math.isfinite(threshold) else None,
        "question_tokens_cut": found.question_tokens_cut,
        "candidates": [one._asdict() for one in found.candidates],
        "error": None,
    }


def as_asked(row: object, number: int) -> Asked:
    """Reads a question with its passage from one of the usual forms.

    Args:
        row: A question and its passage; or a mapping with `question` and either `passage` or
            `context`, and any other keys.
        number: Number of the row, from 0.

    Raises:
        InputError: It has another form, or one of the two is blank or not a text.
    """
    if isinstance(row, Mapping):
        named = [name for name in ("passage", "context") if name in row]
        if "question" in row and len(named) == 1:
            texts = (row["question"], row[named[0]])
            return Asked(_text(texts[0], "question", number), _text(texts[1], "passage", number))
        got = f"{_kind(row)} with {', '.join(map(str, row)) or 'nothing in it'}"
    elif isinstance(row, tuple | list) and len(row) == len(Asked._fields):
        return Asked(_text(row[0], "question", number), _text(row[1], "passage", number))
    else:
        got = _kind(row)
    raise InputError(
        where=f"row {number + 1}",
        got=got,
        expected="a pair (question, passage), or a dict with question and either passage or "
        "context",
        remedy='Such as [("Which river?", "The mill stands on the Isk.")]',
    )


def _features(trained: TrainedReader, asked: Sequence[Asked]) -> Features:
    passages = [
        Passage(one.passage, "", (Question(str(number), one.question, ()),))
        for number, one in enumerate(asked)
    ]
    return Features.from_batch(trained.builds("passage")(passages))


def _tell_of_cut_questions(features: Features) -> None:
    if features.counts.cut_questions:
        _logger.warning(
            "%d of %d questions are too long for this reader, which reads only their first %d "
            "tokens. Shorten them, or train a reader with %s",
            features.counts.cut_questions,
            features.counts.questions,
            features.meta.windows.max_question_tokens,
            features.meta.windows.settings_for(features.counts.longest_question),
        )


def _answer(prediction: Prediction, trained: TrainedReader, question_tokens_cut: int) -> Answer:
    calibration = trained.calibration
    margin = span_margin([one.score for one in prediction.candidates])
    logits = prediction.no_answer_logit, prediction.span_no_answer_logit
    score = float(trained.no_answer_weights.scores(*logits))
    no_answer, answer = calibration.probabilities(score, margin)
    return Answer(
        text=None if score > calibration.abstains_above else prediction.candidates[0].text,
        answer_probability=float(answer),
        no_answer_probability=float(no_answer),
        no_answer_score=score,
        candidates=prediction.candidates,
        question_tokens_cut=question_tokens_cut,
    )


def _text(text: object, name: str, number: int) -> str:
    if not isinstance(text, str):
        got = "nothing" if str(text) in _MISSING else f"{_kind(text)}, {text!r:.40}"
    elif not text.strip():
        got = "white space alone" if text else "an empty text"
    elif _SURROGATE.search(text):
        got = "half a character (a lone surrogate)"
    else:
        return text
    raise InputError(
        where=f"{name} {number + 1}",
        got=got,
        expected=f"a {name}, a text",
        remedy=f"Give the {name}, or leave the row out.",
    )


def _kind(thing: object) -> str:
    return f"a value of type {type(thing).__name__}"
