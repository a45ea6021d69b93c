"""The optimiser's state.

Oracle: what torch's Adam makes by itself in its first step.
"""

import torch
from torch import nn

from roberta_squad_pipeline.training.strategy import allocate_state


def stepped(*, allocated: bool) -> tuple[nn.Module, torch.optim.AdamW]:
    """A model after two steps."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    if allocated:
        allocate_state(model, optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_state_that_was_allocated_is_the_one_that_adam_would_make() -> None:
    (model, mine), (usual, its_own) = stepped(allocated=True), stepped(allocated=False)
    for left, right in zip(model.parameters(), usual.parameters(), strict=True):
        assert torch.equal(left, right)
        assert mine.state[left].keys() == its_own.state[right].keys()
        for key, value in its_own.state[right].items():
            assert torch.equal(mine.state[left][key], value)
            assert mine.state[left][key].dtype == value.dtype
