"""The learning-rate schedule.

Oracle: points worked out by hand, in fractions, from the recipe's table; and its laws.
"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.training.schedule import lr_multiplier


@pytest.mark.parametrize(
    ("update", "linear", "square"),
    [
        (0, Fraction(0), Fraction(0)),
        (1, Fraction(1, 6), Fraction(1, 6)),
        (3, Fraction(1, 2), Fraction(1, 2)),
        (6, Fraction(1), Fraction(1)),
        (7, Fraction(93, 94), Fraction(93**2, 94**2)),
        (53, Fraction(1, 2), Fraction(1, 4)),
        (99, Fraction(1, 94), Fraction(1, 94**2)),
        (100, Fraction(0), Fraction(0)),
    ],
)
def test_exact_points(update: int, linear: Fraction, square: Fraction) -> None:
    """A hundred updates, six of them warm-up."""
    for power, share in ((1.0, linear), (2.0, square)):
        got = lr_multiplier(update, updates=100, warmup_updates=6, power=power)
        assert got == pytest.approx(float(share), rel=1e-12, abs=0)


def test_the_published_run() -> None:
    """5,430 updates, 326 of warm-up (6 %): the share half-way down is a half."""
    half_way = (326 + 5430) // 2
    assert lr_multiplier(half_way, updates=5430, warmup_updates=326, power=1.0) == 0.5
    assert lr_multiplier(163, updates=5430, warmup_updates=326, power=1.0) == 0.5


def test_without_warm_up_it_falls_from_the_start() -> None:
    shares = [lr_multiplier(n, updates=4, warmup_updates=0, power=1.0) for n in range(5)]
    assert shares == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_warm_up_that_lasts_the_whole_run_ends_at_the_peak() -> None:
    shares = [lr_multiplier(n, updates=4, warmup_updates=4, power=1.0) for n in range(5)]
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]


@given(st.integers(1, 200), st.data(), st.sampled_from([0.5, 1.0, 2.0]))
def test_it_rises_to_one_and_falls_to_zero(updates: int, data: st.DataObject, power: float) -> None:
    warmup = data.draw(st.integers(0, updates - 1))
    shares = [
        lr_multiplier(update, updates=updates, warmup_updates=warmup, power=power)
        for update in range(updates + 1)
    ]
    assert all(0 <= share <= 1 for share in shares)
    assert shares[warmup] == 1
    assert shares[updates] == 0
    assert shares[: warmup + 1] == sorted(shares[: warmup + 1])
    assert shares[warmup:] == sorted(shares[warmup:], reverse=True)
    assert len(set(shares[warmup:])) == updates - warmup + 1
