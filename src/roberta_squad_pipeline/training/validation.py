"""Reads and scores the validation questions while a reader is trained."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD
from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits
from roberta_squad_pipeline.evaluation.scoring import report_of, score_questions
from roberta_squad_pipeline.evaluation.thresholds import no_answer_auc
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import WindowSpans, merge_windows, search_windows
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput
from roberta_squad_pipeline.training.config import LossSettings
from roberta_squad_pipeline.training.loss import summed_loss
from roberta_squad_pipeline.training.records import Scores


@dataclass(frozen=True, slots=True)
class Validation:
    """Questions that a reader is scored on while it is trained."""

    features: Features
    inference: InferenceConfig
    """How they are read and answered, as in inference."""


def read_validation(
    reader: ReaderModel,
    validation: Validation,
    *,
    processes: Processes,
    on_batch: Callable[[Batch, ReaderOutput], None] = lambda *_: None,
) -> WindowSpans:
    """Reads all validation windows with the present weights.

    No random number is drawn, and the reader is in training mode again at the end. So training is
    not affected.

    Args:
        reader: The reader that is being trained, with its weights sharded or not.
        validation: The questions.
        processes: Each reads its share of the windows, and each calls this function.
        on_batch: See `read_windows`.

    Returns:
        The spans of all windows, in every process.

    Raises:
        InputError: A batch does not fit into the GPU memory that training leaves.
    """
    features, inference = validation.features, validation.inference
    try:
        return search_windows(reader, features, inference, processes=processes, on_batch=on_batch)
    except torch.OutOfMemoryError as error:
        raise InputError(
            where="inference.batch_windows",
            got=f"out of GPU memory with {inference.batch_windows} validation windows at once",
            expected="room for them beside the optimiser's state",
            remedy="Lower inference.batch_windows.",
        ) from error
    finally:
        reader.train()


def read_with_loss(
    reader: ReaderModel, validation: Validation, *, weights: LossSettings, processes: Processes
) -> tuple[WindowSpans, float]:
    """Like `read_validation`; returns the mean loss over all windows, too.

    Args:
        reader: See there.
        validation: The questions.
        weights: Of the loss; see `summed_loss`.
        processes: See `read_validation`.
    """
    total = torch.zeros((), dtype=torch.float64, device=processes.device)

    def add_loss(batch: Batch, output: ReaderOutput) -> None:
        total.add_(summed_loss(output, batch, weights))

    spans = read_validation(reader, validation, processes=processes, on_batch=add_loss)
    # Each rank has read its share; all of them need the mean, to check that it is finite.
    processes.sum(total)
    return spans, total.item() / len(validation.features.windows.question)


def score_validation(validation: Validation, spans: WindowSpans) -> Scores:
    """Scores the result of `read_validation`.

    Args:
        validation: The questions.
        spans: The spans of all their windows.

    Raises:
        InputError: See `merge_windows`.
    """
    features, inference = validation.features, validation.inference
    texts, logits = {}, []
    for prediction in merge_windows(spans, features, inference):
        texts[prediction.question_id] = prediction.candidates[0].text
        logits.append((prediction.no_answer_logit, prediction.span_no_answer_logit))
    scores = score_questions(features.gold, texts)
    head, span = np.array(logits).T
    found = NoAnswerLogits(head, span, ~scores.answerable, inference.null_score)
    odds = found.scores_fitted_on(np.ones(len(scores.ids), np.bool_))
    report = report_of(scores, odds, NO_ANSWER_THRESHOLD)
    answerable = scores.answerable
    return Scores(
        exact=report["exact"],
        f1=report["f1"],
        answerable_f1=float(100 * scores.f1[answerable].mean()) if answerable.any() else None,
        best_f1=report["best_f1"],
        no_answer_auc=no_answer_auc(odds, answerable),
    )
