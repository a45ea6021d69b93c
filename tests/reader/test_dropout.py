"""Dropout from fewer random bits. Oracle: its definition, and the binomial distribution."""

import math

import pytest
import torch
from torch import nn

from roberta_squad_pipeline.reader.dropout import (
    Dropout,
    draw_mask,
    keep,
    replace_dropout,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_or_scaled_and_their_gradients_alike(dtype: torch.dtype) -> None:
    values = torch.full((7, 101), 3.0, dtype=dtype, requires_grad=True)
    found = Dropout(0.25)(values)
    assert found.dtype == dtype
    assert set(found.unique().tolist()) == {0.0, 4.0}
    found.sum().backward()
    torch.testing.assert_close(values.grad * 3, found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_kept_is_not_changed_in_any_bit(dtype: torch.dtype) -> None:
    """Oracle: torch's `where`."""
    values = torch.tensor([1.5, -0.1, 3e-8, 65_000.0, -2e4, 0.0, -1.0]).to(dtype).repeat(9)
    mask, _ = draw_mask(len(values), 0.5)
    assert 0 < mask.sum() < len(values)
    found = keep(values, mask)
    assert found.dtype == dtype
    assert torch.equal(found, torch.where(mask == 1, values, 0.0))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked(p: float) -> None:
    """Within five standard deviations of the binomial's mean, in the first half and the second."""
    torch.manual_seed(1)
    mask, chance = draw_mask(200_001, p)
    assert set(mask.unique().tolist()) == {0, 1}
    assert chance == pytest.approx(1 - p, abs=1 / 65_536)
    for half in mask.chunk(2):
        deviation = math.sqrt(len(half) * p * (1 - p))
        assert half.sum().item() == pytest.approx(len(half) * chance, abs=5 * deviation)


def test_neighbours_are_dropped_independently() -> None:
    """Numbers that come from one draw, and from one place in two: correlations vanish."""
    torch.manual_seed(1)
    mask = draw_mask(400_000, 0.5)[0].float()
    for lag in (1, 2, 3, 4, 8):
        together = torch.corrcoef(torch.stack([mask[lag:], mask[:-lag]]))[0, 1]
        assert abs(together.item()) < 5 / math.sqrt(len(mask))


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_nothing_is_dropped_outside_training(p: float) -> None:
    values = torch.randn(4, 4)
    assert torch.equal(Dropout(p).eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
    assert not Dropout(1.0)(values).any()


def test_random_state_decides() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(draw_mask(1000, 0.5)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_every_plain_dropout_is_replaced() -> None:
    module = nn.Sequential(nn.Dropout(0.1), nn.ModuleList([nn.Dropout(0.2), nn.Dropout1d(0.3)]))
    replace_dropout(module)
    found = [
        (type(m), m.p) for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd)
    ]
    assert found == [(Dropout, 0.1), (Dropout, 0.2), (nn.Dropout1d, 0.3)]
