"""The joint comparison of readers; rates of error are in benchmarks/bench_coverage.py."""

import numpy as np
import pytest

from roberta_squad_pipeline.evaluation.ranking import behind_the_best

PASSAGES = np.repeat(np.arange(100), 5)


def _readers(*rates: float, seeds: int = 1, noise: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    drawn = [rng.normal(rate, noise, seeds) for rate in rates]
    return [(rng.random((seeds, 500)) < of_seeds[:, None]).astype(float) for of_seeds in drawn]


def test_two_readers() -> None:
    """Oracle: the paired normal interval, since one pair needs no correction."""
    readers = _readers(0.8, 0.7)
    a, b = (seeds[0] for seeds in readers)
    best, worse = behind_the_best(readers, np.arange(500))
    assert (best.difference, best.within_noise) == (0.0, True)
    assert worse.difference == pytest.approx(100 * (a - b).mean())
    half = 196 * (a - b).std() / np.sqrt(500)
    assert worse.interval[1] - worse.difference == pytest.approx(half, rel=0.06)
    assert not worse.within_noise


def test_more_readers_widen_the_intervals() -> None:
    """Oracle: the studentised range of ten, 4.47 / sqrt(2), against 1.96 of two."""
    readers = _readers(0.8, 0.7, *([0.75] * 8))
    ten, two = (behind_the_best(some, PASSAGES)[1] for some in (readers, readers[:2]))
    wider = (ten.interval[1] - ten.difference) / (two.interval[1] - two.difference)
    assert wider == pytest.approx(4.47 / np.sqrt(2) / 1.96, rel=0.08)


def test_questions_of_one_passage_count_together() -> None:
    """Oracle: five copies of each question say nothing new."""
    readers = [seeds[:, :100] for seeds in _readers(0.8, 0.7)]
    alone = behind_the_best(readers, np.arange(100))[1]
    copied = behind_the_best([np.repeat(seeds, 5, axis=1) for seeds in readers], PASSAGES)[1]
    assert copied.interval == pytest.approx(alone.interval)


def test_seeds_that_disagree_widen_the_intervals() -> None:
    """Oracle: seeds that spread by ten points, beside some that do not."""
    calm = behind_the_best(_readers(0.8, 0.77, seeds=3), PASSAGES)[1]
    wild = behind_the_best(_readers(0.8, 0.77, seeds=3, noise=0.1), PASSAGES)[1]
    assert wild.interval[1] - wild.difference > 2 * (calm.interval[1] - calm.difference)
    # One seed each says nothing of seeds.
    single = behind_the_best([seeds[:1] for seeds in _readers(0.8, 0.77, seeds=3)], PASSAGES)[1]
    assert single.interval[1] > calm.interval[1]


def test_equal_readers_are_not_behind() -> None:
    [reader] = _readers(0.8)
    one, two = behind_the_best([reader, reader], PASSAGES)
    assert one == two
    assert (one.difference, one.interval, one.within_noise) == (0.0, (0.0, 0.0), True)


def test_the_same_again() -> None:
    readers = _readers(0.8, 0.7, 0.75, seeds=2)
    assert behind_the_best(readers, PASSAGES) == behind_the_best(readers, PASSAGES)
