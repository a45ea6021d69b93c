"""What is said at the end of a run. Oracle: written by hand."""

from typing import Any

import pytest

from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED
from roberta_squad_pipeline.evaluation.report.summary import summary

SCORES = {
    "exact": 80.04,
    "f1": 85.0,
    "total": 200,
    "HasAns_exact": 70.0,
    "HasAns_f1": 75.16,
    "HasAns_total": 100,
    "NoAns_exact": 90.0,
    "NoAns_f1": 90.0,
    "NoAns_total": 100,
    "best_exact": 81.0,
    "best_exact_thresh": -0.5,
    "best_f1": 86.25,
    "best_f1_thresh": -0.5,
}
CALIBRATED = UNCALIBRATED.model_copy(update={"threshold": -0.5, "uncalibrated": None})
AT_THRESHOLD = {"exact": 81.0, "f1": 86.0, "abstained": 0.4}


def said(**given: Any) -> list[str]:
    told = {
        "scores": SCORES,
        "crossfit": {"f1": 85.5, "f1_interval": [83.0, 88.04]},
        "calibration": CALIBRATED,
        "at_threshold": AT_THRESHOLD,
        "data": "dev.json",
        "tuned_elsewhere": False,
    }
    told |= given
    told["calibration"] = told["calibration"].model_dump(mode="json")
    return summary(told, told.pop("crossfit"))


def test_a_good_reader() -> None:
    assert said() == [
        "best F1 86.2, cross-fitted F1 85.5 [83.0, 88.0]",
        "abstaining above 0: exact 80.0, F1 of answerable questions 75.2, "
        "F1 of unanswerable questions 90.0",
        "200 questions of dev.json",
    ]


def test_other_data_than_it_was_tuned_on() -> None:
    line = "at the reader's own threshold: exact 81.0, F1 86.0, no answer to 40%"
    assert said(tuned_elsewhere=True)[2] == line


def test_one_kind_of_question_and_one_passage() -> None:
    answerable = {name: value for name, value in SCORES.items() if not name.startswith("NoAns")}
    lines = said(scores=answerable, crossfit={})
    assert lines[0] == "best F1 86.2, too few passages to cross-fit"
    assert lines[1] == "abstaining above 0: exact 80.0, F1 of answerable questions 75.2"


@pytest.mark.parametrize(
    ("abstained", "how_many"), [(1.0, "every question"), (0.99, "99.0% of the questions")]
)
def test_a_reader_that_abstains(abstained: float, how_many: str) -> None:
    last = said(at_threshold=AT_THRESHOLD | {"abstained": abstained})[-1]
    assert last.startswith(f"warning: the reader abstains on {how_many}, of which 50.0% have")


@pytest.mark.parametrize(
    ("always", "then"), [(True, "it answers every question"), (False, "threshold 0")]
)
def test_a_reader_that_could_not_be_calibrated(always: bool, then: str) -> None:
    raw = UNCALIBRATED.model_copy(update={"always_answers": always, "uncalibrated": "of this"})
    assert said(calibration=raw)[-1] == (
        f"warning: not calibrated, since of this: {then}, and probabilities are as training left "
        "them"
    )
