"""Several readers that answer as one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput


class EnsembleReader(nn.Module):
    """Stands in for a `ReaderModel`, so that the same search goes over its logits.

    Args:
        members: Readers of the same tokens, of any sizes.
    """

    def __init__(self, members: Sequence[ReaderModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, batch: Batch) -> ReaderOutput:
        """Reads a batch with each member, and gives their mean log-probabilities and logits."""
        start, end, no_answer = zip(*(member(batch) for member in self.members), strict=True)
        return ReaderOutput(
            _mean_log_probabilities(start),
            _mean_log_probabilities(end),
            torch.stack(no_answer).mean(0),
        )


def _mean_log_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Of each token, minus infinity on padding.

    A member's logits say nothing of their common level: what it adds to all of a window's would
    move that window before others of its question. On the embedded data, the logarithm of the mean
    probability did as well, and so did logits as they are.
    """
    return torch.stack([each.log_softmax(-1) for each in logits]).mean(0)
