"""The training loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION, UNLABELLED
from roberta_squad_pipeline.reader.batching import Batch, TeacherOutput
from roberta_squad_pipeline.reader.model import ReaderOutput
from roberta_squad_pipeline.training.config import DistilSettings, LossSettings


def summed_loss(
    output: ReaderOutput,
    batch: Batch,
    weights: LossSettings,
    distil: DistilSettings | None = None,
) -> Tensor:
    """Sum over windows of (CE(start) + CE(end)) / 2 + w · BCE(no-answer logit, unanswerable).

    w is `answerability_weight`. In a no-answer window, the target of both cross-entropies is
    ``<s>``, and they count `no_answer_span_weight` times. If such a window contains a plausible
    answer, `plausible_weight` times the cross-entropies at that span, over all tokens but ``<s>``,
    are added: they teach which span is the best if there is one. An unlabelled window has the
    teacher's part alone. The loss is a sum, since micro-batches and processes have unequal numbers
    of windows; the caller divides by the number of windows in the whole update.

    Args:
        output: The reader's output.
        batch: The windows that it read.
        weights: The weights of the parts of the loss.
        distil: Weight and temperature of the teacher's part (`_teacher_loss`), if there is one.

    Returns:
        Shape: ()
    """
    spans = _span_loss(output, batch.start, batch.end)
    if weights.no_answer_span_weight != 1:
        start, end = (
            label.masked_fill(label == NO_ANSWER_POSITION, UNLABELLED)
            for label in (batch.start, batch.end)
        )
        answered = _span_loss(output, start, end)
        spans = answered + weights.no_answer_span_weight * (spans - answered)
    unanswerable = (batch.start == NO_ANSWER_POSITION).to(output.no_answer_logits.dtype)
    labelled = (batch.start != UNLABELLED).to(unanswerable.dtype)
    answerability = F.binary_cross_entropy_with_logits(
        output.no_answer_logits, unanswerable, labelled, reduction="sum"
    )
    loss = spans + weights.answerability_weight * answerability
    if weights.plausible_weight:
        loss = loss + weights.plausible_weight * _plausible_loss(output, batch)
    if distil is not None and batch.teacher is not None:
        taught = _teacher_loss(output, batch.teacher, weights, distil.temperature)
        loss = (1 - distil.weight) * loss + distil.weight * taught
    return loss


def _span_loss(
    output: ReaderOutput, start: Tensor, end: Tensor, ignored: int = UNLABELLED
) -> Tensor:
    """Sum over windows with labels of (CE(start) + CE(end)) / 2. Shape: ()."""
    return (
        F.cross_entropy(output.start_logits, start, reduction="sum", ignore_index=ignored)
        + F.cross_entropy(output.end_logits, end, reduction="sum", ignore_index=ignored)
    ) / 2


def _teacher_loss(
    output: ReaderOutput, teacher: TeacherOutput, weights: LossSettings, temperature: float
) -> Tensor:
    """Sum over windows of T² · ((KL(start) + KL(end)) / 2 + w · KL(no answer)).

    KL is the divergence of the student's distribution from the teacher's, with the logits of both
    divided by T. The factor makes up for gradients that shrink with T² (Hinton et al., 2015).

    Returns:
        Shape: ()
    """
    start = _divergence(output.start_logits, teacher.start, temperature)
    end = _divergence(output.end_logits, teacher.end, temperature)
    student, known = output.no_answer_logits / temperature, teacher.no_answer / temperature
    share = known.sigmoid()
    answerability = F.binary_cross_entropy_with_logits(student, share, reduction="sum")
    entropy = F.binary_cross_entropy_with_logits(known, share, reduction="sum")
    answerability = answerability - entropy
    return temperature**2 * ((start + end) / 2 + weights.answerability_weight * answerability)


def _divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Sum over windows of the KL divergence. Shape: ()."""
    padding = torch.isneginf(teacher)
    student = (logits / temperature).log_softmax(-1).masked_fill(padding, 0)
    known = (teacher / temperature).log_softmax(-1)
    return (known.exp() * (known.masked_fill(padding, 0) - student)).sum()


def _plausible_loss(output: ReaderOutput, batch: Batch) -> Tensor:
    """Sum over windows of (CE(start) + CE(end)) / 2 at plausible answers. Shape: ()."""
    first = NO_ANSWER_POSITION + 1
    without_none = output._replace(
        start_logits=output.start_logits[:, first:], end_logits=output.end_logits[:, first:]
    )
    start, end = batch.plausible_start - first, batch.plausible_end - first
    # Windows without a plausible answer have the label of ``<s>``.
    return _span_loss(without_none, start, end, ignored=NO_ANSWER_POSITION - first)
