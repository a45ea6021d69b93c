"""Which of several readers are worse than the best: one joint comparison of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float64Array, IntArray

_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0
_QUANTILE = _CONFIDENCE + 2 * (_CONFIDENCE * (1 - _CONFIDENCE) / _RESAMPLES) ** 0.5
"""Two standard errors above, so that no verdict owes itself to which resamples were drawn."""


@dataclass(frozen=True, slots=True)
class Behind:
    """How far one reader is behind the best of those compared."""

    difference: float
    """Mean of the best minus this one's, in per cent; 0 for the best itself."""
    interval: tuple[float, float]
    """Simultaneous: with 95 % confidence, all differences between two readers lie in theirs."""

    @property
    def within_noise(self) -> bool:
        """Whether the difference may be chance."""
        return self.interval[0] <= 0 <= self.interval[1]


def behind_the_best(readers: Sequence[Float64Array], passages: IntArray) -> list[Behind]:
    """Compares readers on the same questions; which one is best is not known in advance.

    The intervals are simultaneous for the differences of all pairs, so that it does not matter that
    the same scores pick the best: the critical value is the 95 % quantile of the largest
    studentised difference (max-T) over a paired bootstrap-t of whole passages, at the upper end of
    what the number of resamples leaves open. If readers have several seeds, the variance between
    seeds is pooled over the readers, the part that differences between questions contribute to it
    is subtracted, and each draw adds a normal effect of this variance to each reader's mean,
    readers with one seed included. The variance itself is drawn from its scaled inverse
    chi-squared distribution, since few seeds determine it poorly.

    Sources: Westfall & Young, Resampling-Based Multiple Testing (1993), chapter 2, for max-T;
    Hsu, Multiple Comparisons (1996), chapter 5, for all pairs; Field & Welsh, "Bootstrapping
    Clustered Data" (2007), for the draws of passages.

    Args:
        readers: For each reader the scores, 0 to 1. Shapes: (seeds, questions)
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
    # What each passage contributes to a pair's difference, beyond the mean.
    off = (sums - means[:, None] * sizes).T
    off = (off[:, :, None] - off[:, None, :]).reshape(len(sizes), -1)
    of_seeds = np.var(effects[:, :, None] - effects[:, None, :], axis=0)
    errors = np.sqrt((off**2).sum(0).reshape(of_seeds.shape) / len(place) ** 2 + of_seeds)
    # With the errors of each draw: with few passages, these vary by chance, too.
    squares = drawn @ off**2 - (drawn @ off) ** 2 / len(sizes)
    drawn_errors = np.sqrt(
        np.maximum(squares, 0).reshape(pairs.shape) / weights[:, None, None] ** 2 + of_seeds
    )
    # Equal readers have an error of 0, and no difference.
    largest = np.abs(pairs / np.where(drawn_errors > 0, drawn_errors, np.inf)).max((1, 2))
    critical = np.quantile(largest, _QUANTILE)
    best = int(means.argmax())
    found = []
    for mean, error in zip(means, errors[best], strict=True):
        lead, half = float(100 * (means[best] - mean)), float(100 * critical * error)
        found.append(Behind(lead, (lead - half, lead + half)))
    return found


def _seed_effects(
    readers: Sequence[Float64Array], place: NDArray[np.integer], rng: np.random.Generator
) -> Float64Array:
    """Draws the effect of the choice of seeds on each mean. Shape: (resamples, readers)."""
    freedom = sum(len(seeds) - 1 for seeds in readers)
    seeds_of = np.array([len(seeds) for seeds in readers])
    if not freedom:
        return np.zeros((_RESAMPLES, len(readers)))
    between = of_questions = 0.0
    for seeds in readers:
        off = seeds - seeds.mean(0)
        effects = off.mean(1)
        between += float(effects @ effects)
        # The draws of passages cover already that seeds differ in which questions they answer well.
        for own, effect in zip(off, effects, strict=True):
            of_passages = np.bincount(place, own - effect)
            of_questions += float(of_passages @ of_passages) / len(place) ** 2
    drawn = between / rng.chisquare(freedom, _RESAMPLES) - of_questions / freedom
    spread = np.sqrt(np.maximum(drawn, 0))[:, None] / np.sqrt(seeds_of)
    found: Float64Array = rng.standard_normal((_RESAMPLES, len(readers))) * spread
    return found
