"""How often intervals hold the truth, and how often tables of equal recipes flag one as worse.

Scores are simulated: a question is right with its passage's rate, or partly right; recipes that are
equal differ by the luck of their questions, and of their seeds where there are several. How alike
the questions of a passage are is measured on the kept runs of real passages, where these are there.
Prints Markdown, in about 25 minutes of CPU time.

    python benchmarks/bench_coverage.py
"""

import json

import numpy as np
from real_runs import RESULTS, kept_scores, read_sample, sample_split

from common import SHARED, header
from roberta_squad_pipeline.evaluation.ranking import behind_the_best
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean

INTERVALS, TABLES, RECIPES, PER_PASSAGE = 2000, 4000, 10, 7
PARTLY = 0.15
"""Share of questions that are partly right, which score 0.2 to 0.9."""
CORRELATIONS = 0.02, 0.1
"""Of questions of one passage."""


def rates(mean: float, passages: np.ndarray, alike: float, rng: np.random.Generator) -> np.ndarray:
    """A rate for each question, alike within a passage."""
    strength = (1 - alike) / alike
    of_passages = rng.beta(mean * strength, (1 - mean) * strength, passages.max() + 1)
    return of_passages[passages]


def coverage(questions: int, *, partly: float, alike: float | None) -> float:
    """Per cent of intervals that hold the mean that the scores were drawn with."""
    rng = np.random.default_rng(questions)
    passages = np.arange(questions) // (PER_PASSAGE if alike else 1)
    held = 0
    for _ in range(INTERVALS):
        rate = rng.uniform(0.3, 0.98)
        of_question = rates(rate, passages, alike, rng) if alike else rate
        values = (rng.random(questions) < of_question).astype(np.float64)
        part = rng.random(questions) < partly
        values[part] = rng.uniform(0.2, 0.9, part.sum())
        low, high = interval_of_mean(values, passages)
        held += low <= 100 * ((1 - partly) * rate + partly * 0.55) <= high
    return 100 * held / INTERVALS


def false_flags(questions: int, *, seeds: int, spread: float) -> float:
    """Per cent of tables of ten equal recipes in which at least one is flagged."""
    rng = np.random.default_rng(seeds)
    passages = np.arange(questions) // PER_PASSAGE
    flagged = 0
    for _ in range(TABLES):
        # What all recipes find hard is the same questions.
        hard = rates(0.85, passages, CORRELATIONS[-1], rng)
        readers = []
        for _ in range(RECIPES):
            luck = rng.normal(0, spread, (seeds, 1))
            readers.append((rng.random((seeds, questions)) < hard + luck).astype(np.float64))
        flagged += not all(one.within_noise for one in behind_the_best(readers, passages))
    return 100 * flagged / TABLES


def correlation(values: np.ndarray, passages: np.ndarray) -> float:
    """Of the questions of one passage: the intraclass correlation by analysis of variance.

    Source: Donner, "A Review of Inference Procedures for the Intraclass Correlation Coefficient in
    the One-Way Random Effects Model" (1986).
    """
    sizes, questions = np.bincount(passages), len(values)
    means = np.bincount(passages, values) / sizes
    between = sizes @ (means - values.mean()) ** 2 / (len(sizes) - 1)
    within = ((values - means[passages]) ** 2).sum() / (questions - len(sizes))
    size = (questions - sizes @ sizes / questions) / (len(sizes) - 1)
    return float((between - within) / (between + (size - 1) * within))


def real_correlations() -> list[float]:
    """Of F1 at the best threshold, for each kept run that was scored on the sample's dev file."""
    dev = read_sample(sample_split(None).dev)
    passages = np.repeat(np.arange(len(dev.passages)), [len(one.questions) for one in dev.passages])
    found = []
    for path in sorted(RESULTS.rglob("*.json")):
        if json.loads(path.read_bytes())["fold"] is None:
            questions, odds = kept_scores(path, dev)
            threshold = questions.best_threshold(questions.f1, odds).threshold
            found.append(correlation(questions.at(threshold, questions.f1, odds), passages))
    return found


def main() -> None:
    """Prints both tables, and what real runs show."""
    print(header("numpy"))
    if SHARED.exists():
        real = np.array(real_correlations())
        print(
            f"\n{len(real)} runs on real passages: correlation of F1 within a passage "
            f"{real.min():.2f} to {real.max():.2f}, median {np.median(real):.2f}."
        )
    clustered = " | ".join(f"7 per passage, correlation {alike:g}" for alike in CORRELATIONS)
    print(f"\n| questions | right or wrong | partly right, too | {clustered} |")
    print("| --- " * (3 + len(CORRELATIONS)) + "|")
    for questions in (10, 20, 50, 100, 500, 2000):
        cells = [
            coverage(questions, partly=0, alike=None),
            coverage(questions, partly=PARTLY, alike=None),
            *(coverage(questions, partly=PARTLY, alike=alike) for alike in CORRELATIONS),
        ]
        print(f"| {questions} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    print("\n| seeds | spread of seeds, points | tables with a false flag, % |")
    print("| --- | --- | --- |")
    for seeds, spread in ((1, 0.0), (3, 0.0), (3, 0.01), (3, 0.03), (5, 0.01)):
        share = false_flags(700, seeds=seeds, spread=spread)
        print(f"| {seeds} | {100 * spread:g} | {share:.1f} |")


if __name__ == "__main__":
    main()
