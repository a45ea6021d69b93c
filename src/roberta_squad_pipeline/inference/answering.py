"""Questions to answers, by the same steps as a whole file: features, windows, spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.calibration import span_margin
from roberta_squad_pipeline.features.build import build_features
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import Candidate, Prediction, predict
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.squad.dataset import Passage, Question


class Asked(NamedTuple):
    """A question to a passage."""

    question: str
    passage: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says to a question."""

    text: str | None
    """The best span, or None: the reader abstains."""
    answer_probability: float
    """Calibrated: that the passage answers the question and the best span is right."""
    no_answer_probability: float
    """Calibrated: that the passage does not answer the question."""
    no_answer_score: float
    """The logit that is held against the threshold; high means unanswerable."""
    candidates: tuple[Candidate, ...]
    """Best first; at least one, also where the reader abstains."""

    @property
    def best(self) -> Candidate:
        """The best span and where it stands, also where the reader abstains."""
        return self.candidates[0]


def answer_questions(
    trained: TrainedReader, asked: Sequence[Asked], *, device: torch.device
) -> list[Answer]:
    """Answers questions to passages of any length.

    Args:
        trained: Moved to `device`.
        asked: A passage that is asked several questions is read into tokens once.
        device: Where to compute.

    Returns:
        One answer per question, in the order of `asked`.

    Raises:
        InputError: A passage or a question is blank.
    """
    for number, one in enumerate(asked):
        _reject_blank(one, number)
    if not asked:
        return []
    predictions = predict(
        trained.reader,
        _features(trained, asked),
        trained.inference,
        device=device,
        on_windows=lambda _: None,
    )
    of_question = {int(prediction.question_id): prediction for prediction in predictions}
    return [_answer(of_question[number], trained) for number in range(len(asked))]


def _features(trained: TrainedReader, asked: Sequence[Asked]) -> Features:
    passages = [
        Passage(one.passage, "", (Question(str(number), one.question, ()),))
        for number, one in enumerate(asked)
    ]
    batch = build_features(
        passages,
        tokenizer=trained.tokenizer,
        windows=trained.header.windows,
        source="passage",
    )
    return Features.from_batch(batch)


def _answer(prediction: Prediction, trained: TrainedReader) -> Answer:
    calibration = trained.calibration
    margin = span_margin(prediction.scores)
    logits = prediction.no_answer_logit, prediction.span_no_answer_logit
    score = float(trained.no_answer_weights.scores(*logits))
    no_answer, answer = calibration.probabilities(score, margin)
    threshold = calibration.threshold
    abstains = threshold is None or score > threshold
    return Answer(
        text=None if abstains else prediction.texts[0],
        answer_probability=float(answer),
        no_answer_probability=float(no_answer),
        no_answer_score=score,
        candidates=prediction.candidates,
    )


def _reject_blank(asked: Asked, number: int) -> None:
    for name, text in asked._asdict().items():
        if not text.strip():
            raise InputError(
                where=f"{name} {number + 1}",
                got="white space alone" if text else "an empty text",
                expected=f"a {name}",
                remedy=f"Give the {name}.",
            )
