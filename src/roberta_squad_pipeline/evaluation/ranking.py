"""Which of several readers are worse than the best: one joint comparison of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float64Array, IntArray

_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True, slots=True)
class Behind:
    """How far one reader is behind the best of all that are compared."""

    difference: float
    """Mean of the best less this one's, in per cent; 0 for the best itself."""
    interval: tuple[float, float]
    """With 95 %, all differences between any two readers lie in their intervals at once."""

    @property
    def within_noise(self) -> bool:
        """Whether the two cannot be told apart."""
        return self.interval[0] <= 0 <= self.interval[1]


def behind_the_best(readers: Sequence[Float64Array], passages: IntArray) -> list[Behind]:
    """Compares readers on the same questions, the best of which is not known before.

    Simultaneous intervals for the differences of all pairs, so that it does not matter that the
    best is picked by the same scores: the critical value is the 95 % quantile of the largest
    studentised difference (max-T) over a paired bootstrap-t of whole passages. Where readers have
    several seeds, the variance between seeds is pooled over them, what differences between
    questions put into it is taken off, and each draw adds a normal effect of such a variance to
    each reader's mean, those of one seed included; the variance itself is drawn from its scaled
    inverse chi-squared distribution, since few seeds say little of it.

    Sources: Westfall & Young, Resampling-Based Multiple Testing (1993), chapter 2, for max-T;
    Hsu, Multiple Comparisons (1996), chapter 5, for all pairs; Field & Welsh, "Bootstrapping
    Clustered Data" (2007), for the draws of passages.

    Args:
        readers: What each question scores in each seed, 0 to 1. Shapes: (seeds, questions)
        passages: Number of each question's passage. Shape: (questions,)

    Returns:
        One for each reader.
    """
    rng = np.random.default_rng(_SEED)
    _, place = np.unique(passages, return_inverse=True)
    sizes = np.bincount(place)
    sums = np.array([np.bincount(place, seeds.mean(0)) for seeds in readers])
    means = sums.sum(1) / len(place)
    drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), _RESAMPLES)
    weights = drawn @ sizes
    draws = (drawn @ sums.T) / weights[:, None] - means
    effects = _seed_effects(readers, place, rng)
    pairs = draws[:, :, None] - draws[:, None, :] + effects[:, :, None] - effects[:, None, :]
    # What each passage adds to a pair's difference, beyond the mean.
    off = (sums - means[:, None] * sizes).T
    off = (off[:, :, None] - off[:, None, :]).reshape(len(sizes), -1)
    of_seeds = np.var(effects[:, :, None] - effects[:, None, :], axis=0)
    errors = np.sqrt((off**2).sum(0).reshape(of_seeds.shape) / len(place) ** 2 + of_seeds)
    # By each draw's own errors: those that few passages give by chance are part of what is drawn.
    squares = drawn @ off**2 - (drawn @ off) ** 2 / len(sizes)
    drawn_errors = np.sqrt(
        np.maximum(squares, 0).reshape(pairs.shape) / weights[:, None, None] ** 2 + of_seeds
    )
    # Equal readers have no error, and their difference is none.
    largest = np.abs(pairs / np.where(drawn_errors > 0, drawn_errors, np.inf)).max((1, 2))
    critical = np.quantile(largest, _CONFIDENCE)
    best = int(means.argmax())
    found = []
    for mean, error in zip(means, errors[best], strict=True):
        lead, half = float(100 * (means[best] - mean)), float(100 * critical * error)
        found.append(Behind(lead, (lead - half, lead + half)))
    return found


def _seed_effects(
    readers: Sequence[Float64Array], place: NDArray[np.integer], rng: np.random.Generator
) -> Float64Array:
    """Draws of what the choice of seeds does to each mean. Shape: (resamples, readers)."""
    freedom = sum(len(seeds) - 1 for seeds in readers)
    seeds_of = np.array([len(seeds) for seeds in readers])
    if not freedom:
        return np.zeros((_RESAMPLES, len(readers)))
    between = of_questions = 0.0
    for seeds in readers:
        off = seeds - seeds.mean(0)
        effects = off.mean(1)
        between += float(effects @ effects)
        # That each seed answers other questions well is in the draws of passages already.
        for own, effect in zip(off, effects, strict=True):
            of_passages = np.bincount(place, own - effect)
            of_questions += float(of_passages @ of_passages) / len(place) ** 2
    drawn = between / rng.chisquare(freedom, _RESAMPLES) - of_questions / freedom
    spread = np.sqrt(np.maximum(drawn, 0))[:, None] / np.sqrt(seeds_of)
    found: Float64Array = rng.standard_normal((_RESAMPLES, len(readers))) * spread
    return found
