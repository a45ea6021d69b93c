"""Several readers that answer as one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput


class EnsembleReader(nn.Module):
    """Takes the place of a `ReaderModel`, so that spans are searched in the same way.

    Args:
        members: Readers of any sizes, with the same tokens.
    """

    def __init__(self, members: Sequence[ReaderModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, batch: Batch) -> ReaderOutput:
        """Reads a batch with each member; returns mean log-probabilities and no-answer logits."""
        start, end, no_answer = zip(*(member(batch) for member in self.members), strict=True)
        return ReaderOutput(
            _mean_log_probabilities(start),
            _mean_log_probabilities(end),
            torch.stack(no_answer).mean(0),
        )


def _mean_log_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Averages the log-probabilities of each token; minus infinity on padding.

    The common level of a member's logits is arbitrary: a constant added to all logits of a window
    would put that window before the others of its question. On the embedded data, the logarithm of
    the mean probability did as well, and so did plain logits.
    """
    return torch.stack([each.log_softmax(-1) for each in logits]).mean(0)
