"""The loss scale of fp16.

Oracle: a few lines that follow the recipe's rule update by update.
"""

import json
import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from roberta_squad_pipeline.training.config import LossScaleConfig
from roberta_squad_pipeline.training.loss_scale import LossScaler

RECIPE = LossScaleConfig(initial=4.0, growth_updates=128, minimum=1.0, skips_at_minimum=3)
CPU = torch.device("cpu")


class Run:
    """Gradient descent on one weight, with a gradient of 1 or with one that overflows."""

    def __init__(self, config: LossScaleConfig, *, enabled: bool = True) -> None:
        self.weight = nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.weight], lr=1.0)
        self.scaler = LossScaler(config, enabled=enabled, device=CPU)

    def update(self, *, overflow: bool = False) -> None:
        self.optimizer.zero_grad()
        self.scaler.scale(self.weight * (math.inf if overflow else 1.0)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scaler.settle()


def test_scale_doubles_after_the_recipe_s_128_good_updates() -> None:
    run = Run(RECIPE)
    scales = []
    for _ in range(257):
        scales.append(run.scaler.known_scale)
        run.update()
    assert scales == [4.0] * 128 + [8.0] * 128 + [16.0]
    # The scale is taken out again before the weight is changed.
    assert run.weight.item() == -257


@given(
    st.lists(st.booleans(), max_size=40),
    st.integers(1, 4),
    st.sampled_from([0.25, 1.0, 3.0]),
    st.sampled_from([1.0, 4.0, 64.0]),
)
def test_scale_follows_the_rule(
    overflows: list[bool], growth: int, minimum: float, initial: float
) -> None:
    """Doubles after so many good updates in a row, halves on overflow, stays above its floor."""
    initial = max(initial, minimum)
    config = LossScaleConfig(
        initial=initial, growth_updates=growth, minimum=minimum, skips_at_minimum=100
    )
    run = Run(config)
    scale, good, weight = initial, 0, 0
    for overflow in overflows:
        run.update(overflow=overflow)
        if overflow:
            scale, good = max(scale / 2, minimum), 0
        else:
            good, weight = good + 1, weight - 1
            if good == growth:
                scale, good = scale * 2, 0
        assert run.scaler.known_scale == scale
        # An update that overflows is skipped.
        assert run.weight.item() == weight


def test_run_stops_after_skips_in_a_row_at_the_minimum() -> None:
    """4 → 2 → 1 takes two skips; three more at 1 are the end; a good one in between resets."""
    run = Run(RECIPE)
    for overflow in (True, True, True, True, False, True, True):
        run.update(overflow=overflow)
        assert not run.scaler.diverged
    run.update(overflow=True)
    assert run.scaler.diverged


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), max_size=12))
def test_restored_scale_goes_on_alike(before: list[bool], after: list[bool]) -> None:
    """Oracle: a scaler that was never interrupted."""
    config = LossScaleConfig(initial=4.0, growth_updates=3, minimum=1.0, skips_at_minimum=3)
    run = Run(config)
    for overflow in before:
        run.update(overflow=overflow)
    again = Run(config)
    again.scaler.load_state_dict(json.loads(json.dumps(run.scaler.state_dict())))
    for overflow in after:
        for one in (run, again):
            one.update(overflow=overflow)
        assert again.scaler.state_dict() == run.scaler.state_dict()
        assert again.scaler.diverged == run.scaler.diverged


def test_other_precisions_have_no_scale() -> None:
    run = Run(RECIPE, enabled=False)
    run.update()
    assert run.scaler.known_scale == 1.0
    assert run.weight.item() == -1
    run.update(overflow=True)
    assert run.weight.isinf()
    for _ in range(5):
        run.update(overflow=True)
        assert not run.scaler.diverged


def test_gradients_are_unscaled_before_they_are_clipped() -> None:
    run = Run(RECIPE)
    run.scaler.scale(run.weight * 1.0).backward()
    assert run.weight.grad.item() == 4.0
    run.scaler.unscale_(run.optimizer)
    assert run.weight.grad.item() == 1.0
    run.scaler.step(run.optimizer)
    assert run.weight.item() == -1
