"""What the reader is trained on."""

from torch import Tensor
from torch.nn import functional as F

from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.model import ReaderOutput
from roberta_squad_pipeline.squad.windows import NO_ANSWER_POSITION

ANSWERABILITY_WEIGHT = 0.5
"""Share of the answerability loss in a window's loss (the recipe's criterion, `squad2`)."""


def summed_loss(output: ReaderOutput, batch: Batch) -> Tensor:
    """Sum over windows of (CE(start) + CE(end)) / 2 + 0.5 · BCE(no-answer logit, unanswerable).

    In a no-answer window both cross-entropies point at ``<s>``. It is a sum because an update's
    micro-batches and processes hold unequal numbers of windows: the caller divides by the
    update's global number.

    Returns:
        Shape: ()
    """
    start = F.cross_entropy(output.start_logits, batch.start, reduction="sum")
    end = F.cross_entropy(output.end_logits, batch.end, reduction="sum")
    unanswerable = (batch.start == NO_ANSWER_POSITION).to(output.no_answer_logits.dtype)
    answerability = F.binary_cross_entropy_with_logits(
        output.no_answer_logits, unanswerable, reduction="sum"
    )
    return (start + end) / 2 + ANSWERABILITY_WEIGHT * answerability
