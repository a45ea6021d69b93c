"""Scores the same predictions by the official SQuAD 2.0 scorer's method and by this project's.

Both are given the parsed files, start anew each time, and must come to the same figures to the
last digit. Prints Markdown.

    python benchmarks/bench_scoring.py
"""

import argparse
import json
import re
import string
from collections import Counter
from functools import partial
from pathlib import Path

from common import SHARED, header, spread, take_turns, times_faster
from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.squad.dataset import read_gold

Gold = dict[str, list[str]]
THRESHOLD = 0.0


def official_report(
    gold: Gold, predictions: dict[str, str], no_answer_scores: dict[str, float]
) -> dict[str, float | int]:
    """The official method, from its public description, one comparison at a time."""
    answerable = {question: bool(answers) for question, answers in gold.items()}
    exact, f1 = official_scores(gold, predictions)
    with_threshold = [
        {
            question: float(not answerable[question])
            if no_answer_scores[question] > THRESHOLD
            else score
            for question, score in scores.items()
        }
        for scores in (exact, f1)
    ]
    kinds = {
        "": list(gold),
        "HasAns_": [question for question in gold if answerable[question]],
        "NoAns_": [question for question in gold if not answerable[question]],
    }
    report: dict[str, float | int] = {}
    for prefix, questions in kinds.items():
        total = len(questions)
        for name, scores in zip(("exact", "f1"), with_threshold, strict=True):
            summed = sum(scores[question] for question in questions)
            report[f"{prefix}{name}"] = 100.0 * summed / total
        report[f"{prefix}total"] = total
    for name, scores in (("exact", exact), ("f1", f1)):
        best, threshold = official_best(predictions, scores, no_answer_scores, answerable)
        report |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return report


def official_scores(
    gold: Gold, predictions: dict[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Exact match and F1 of every question, the best over its gold answers."""
    exact, f1 = {}, {}
    for question, texts in gold.items():
        # The empty text is the only right answer where there is no other.
        answers = [text for text in texts if official_normalised(text)] or [""]
        prediction = predictions[question]
        exact[question] = max(official_exact(answer, prediction) for answer in answers)
        f1[question] = max(official_f1(answer, prediction) for answer in answers)
    return exact, f1


def official_normalised(text: str) -> str:
    """Lower case, then punctuation, articles and white space."""
    punctuation = set(string.punctuation)
    kept = "".join(character for character in text.lower() if character not in punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def official_exact(answer: str, prediction: str) -> float:
    """1 where both are the same text, normalised for this comparison."""
    return float(official_normalised(answer) == official_normalised(prediction))


def official_f1(answer: str, prediction: str) -> float:
    """Overlap of words, normalised for this comparison."""
    wanted = official_normalised(answer).split() if answer else []
    given = official_normalised(prediction).split() if prediction else []
    same = sum((Counter(wanted) & Counter(given)).values())
    if not wanted or not given:
        return float(wanted == given)
    if same == 0:
        return 0.0
    precision, recall = 1.0 * same / len(given), 1.0 * same / len(wanted)
    return (2 * precision * recall) / (precision + recall)


def official_best(
    predictions: dict[str, str],
    scores: dict[str, float],
    no_answer_scores: dict[str, float],
    answerable: dict[str, bool],
) -> tuple[float, float]:
    """The best score over all thresholds, and the first that has it."""
    best = current = sum(not answerable[question] for question in scores)
    threshold = 0.0
    for question in sorted(no_answer_scores, key=lambda name: no_answer_scores[name]):
        if question not in scores:
            continue
        if answerable[question]:
            current += scores[question]
        else:
            current -= bool(predictions[question])
        if current > best:
            best, threshold = current, no_answer_scores[question]
    return 100.0 * best / len(scores), threshold


def sample() -> tuple[Gold, dict[str, str], dict[str, float]]:
    """The real dev sample with the predictions that lie beside it."""
    folder = SHARED / "squad"
    predictions, odds = (
        json.loads((folder / "golden" / name).read_bytes())
        for name in ("predictions.json", "null_odds.json")
    )
    return read_gold(folder / "dev-sample.json"), predictions, odds


def own(
    dataset: Path, predictions: Path, odds: Path
) -> tuple[Gold, dict[str, str], dict[str, float]]:
    """Files of one's own."""
    return read_gold(dataset), json.loads(predictions.read_bytes()), json.loads(odds.read_bytes())


def main() -> None:
    """Times and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="data set, predictions, null odds")
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    gold, predictions, odds = own(*arguments.files) if arguments.files else sample()
    sides = {
        "official": partial(official_report, gold, predictions, odds),
        "ours": partial(
            squad_report, gold, predictions, no_answer_scores=odds, threshold=THRESHOLD
        ),
    }
    figures = [side() for side in sides.values()]
    if figures[0] != figures[1]:
        raise SystemExit(f"the figures differ: {figures}")
    seconds = take_turns(sides, arguments.repeats)
    right = figures[0]["exact"]
    empty = sum(not text for text in predictions.values())
    answers = sum(map(len, gold.values()))
    print(header("numpy"))
    print(
        f"\n{len(gold)} questions with {answers} gold answers; {empty} predictions are empty, "
        f"{right:.1f} % are right. All 13 figures are identical.\n"
    )
    print("| scorer | median (least to greatest), s | questions/s |\n| --- | --- | --- |")
    for name, timed in seconds.items():
        rate = len(gold) / sorted(timed)[len(timed) // 2]
        print(f"| {name} | {spread(timed)} | {rate:,.0f} |")
    print(f"| ratio | {times_faster(seconds, 'ours', 'official', stage='scoring'):.1f} | |")


if __name__ == "__main__":
    main()
