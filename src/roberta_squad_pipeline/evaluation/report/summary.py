"""The result of an evaluation in a few lines, for the end of a run."""

from collections.abc import Mapping
from typing import Any

from roberta_squad_pipeline.evaluation.thresholds import abstains_too_much


def summary(evaluation: Mapping[str, Any], crossfit: Mapping[str, Any]) -> list[str]:
    """Lists the scores that count, and warnings about them.

    Args:
        evaluation: The record in the reader's folder.
        crossfit: See `cross_fitted_report`.
    """
    scores, at_threshold = evaluation["scores"], evaluation["at_threshold"]
    fitted = "too few passages to cross-fit"
    if "f1" in crossfit:
        low, high = crossfit["f1_interval"]
        fitted = f"cross-fitted F1 {crossfit['f1']:.1f} [{low:.1f}, {high:.1f}]"
    kinds = [
        f"F1 of {kind} questions {scores[f'{prefix}_f1']:.1f}"
        for prefix, kind in (("HasAns", "answerable"), ("NoAns", "unanswerable"))
        if f"{prefix}_f1" in scores
    ]
    lines = [
        f"best F1 {scores['best_f1']:.1f}, {fitted}",
        f"abstaining above 0: exact {scores['exact']:.1f}, {', '.join(kinds)}",
    ]
    if evaluation["tuned_elsewhere"]:
        lines.append(
            f"at the reader's own threshold: exact {at_threshold['exact']:.1f}, F1 "
            f"{at_threshold['f1']:.1f}, no answer to {at_threshold['abstained']:.0%}"
        )
    lines.append(f"{scores['total']} questions of {evaluation['data']}")
    return lines + _warnings(scores, evaluation["calibration"], at_threshold["abstained"])


def _warnings(
    scores: Mapping[str, float], calibration: Mapping[str, Any], abstained: float
) -> list[str]:
    found = []
    if calibration["uncalibrated"]:
        then = "it answers every question" if calibration["always_answers"] else "threshold 0"
        found.append(
            f"not calibrated, since {calibration['uncalibrated']}: {then}, and probabilities are "
            "as training left them"
        )
    answerable = scores.get("HasAns_total", 0) / scores["total"]
    if abstains_too_much(abstained, answerable):
        share = "every question" if abstained == 1 else f"{abstained:.1%} of the questions"
        found.append(
            f"the reader abstains on {share}, of which {answerable:.1%} have an answer: its F1 is "
            "little more than what abstaining scores. Train it longer, at another learning rate, "
            "or from another encoder."
        )
    return [f"warning: {warning}" for warning in found]
