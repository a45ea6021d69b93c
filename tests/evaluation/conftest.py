"""A scored data set with every outcome, and the report of it."""

from typing import TYPE_CHECKING, Any

import pytest

from roberta_squad_pipeline.evaluation.calibration import calibrate
from roberta_squad_pipeline.evaluation.questions import judged, question_table, scores_of
from roberta_squad_pipeline.evaluation.report import figures
from roberta_squad_pipeline.evaluation.report.page import report_page
from roberta_squad_pipeline.evaluation.report.scores import (
    cross_fitted_scores,
    official_scores,
    slices_of,
)
from roberta_squad_pipeline.evaluation.scoring import report_of
from roberta_squad_pipeline.evaluation.uncertainty import cross_fitted_report, in_first_half
from roberta_squad_pipeline.squad.dataset import (
    GoldAnswer,
    Passage,
    Question,
    SquadDataset,
)
from spans import as_nbest

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure

THRESHOLD = 0.0

HOSTILE = '</script><img src=x onerror="window.hacked = 1"><!-- {{js}} & 😀'

# What is asked, the gold answers, the best span, the no-answer score, and what comes of it.
ASKED = [
    ("Who built mill {n}?", ["Anna 😀 Ødegård"], "Anna 😀 Ødegård", -3.0, "right"),
    ("When was mill {n} built?", ["in 1850", "1850"], "built in 1850", -1.0, "partly"),
    ("Which town sold mill {n}?", ["Bergen"], "Anna", -0.5, "wrong"),
    ("How many people worked in mill {n}?", ["six"], "six", 2.0, "missed"),
    ("Why did mill {n} close?", [], "Bergen", -2.0, "invented"),
    ("Is mill {n} old?", [], "1850", 3.0, "abstained"),
]
MILLS = 12

TRAINING_CURVE = {
    "update": [1, 2, 3, 4],
    "loss": [3.0, None, 2.0, 1.0],
    "lr_multiplier": [0.5, 1.0, 0.5, 0.0],
    "peak_rates": {"embeddings": 1e-5, "block 0": 2e-5, "heads": 3e-5},
    "validation": {
        "update": [2, 4],
        "loss": [2.5, 2.25],
        "exact": [50.0, 50.0],
        "f1": [51.0, 52.0],
        "answerable_f1": [10.0, 40.0],
        "best_f1": [55.0, 54.0],
        "no_answer_auc": [0.5, 0.75],
    },
    "kept_update": 4,
}


def _passage(n: int) -> str:
    return f"😀 Mill {n}, built in 1850 by Anna 😀 Ødegård, employed six. Bergen sold it. {HOSTILE}"


@pytest.fixture(scope="session")
def mills() -> SquadDataset:
    """Six questions on each of twelve passages."""
    passages = []
    for n in range(MILLS):
        text = _passage(n)
        questions = [
            Question(
                f"{n}.{kind}",
                asked.format(n=n),
                tuple(GoldAnswer(answer, text.index(answer)) for answer in answers),
            )
            for kind, (asked, answers, *_) in enumerate(ASKED)
        ]
        passages.append(Passage(text, f"Mills {HOSTILE}", tuple(questions)))
    return SquadDataset(tuple(passages))


@pytest.fixture(scope="session")
def predicted(mills: SquadDataset) -> dict[str, Any]:
    """What `question_table` takes beside the questions."""
    nbest, logits, windows = {}, {}, {}
    for n, passage in enumerate(mills.passages):
        for question, (*_, span, odds, _) in zip(passage.questions, ASKED, strict=True):
            start = passage.text.index(span)
            best = {"text": span, "char_start": start, "char_end": start + len(span), "score": 9.0}
            nbest[question.id] = [best, best | {"score": 5.0 - n}]
            logits[question.id] = odds + n / 100
            windows[question.id] = 1 + n % 5
    return {"nbest": as_nbest(nbest, logits), "windows": windows}


@pytest.fixture(scope="session")
def scored(mills: SquadDataset, predicted: dict[str, Any]) -> dict[str, Any]:
    """Everything that the report is made of."""
    table = question_table(mills, **predicted)
    scores, odds = scores_of(table), table["head_logit"].to_numpy()
    first = in_first_half(table["passage_number"].to_numpy())
    calibration = calibrate(scores, odds, table["span_margin"].to_numpy(), first)
    return {
        "metrics": report_of(scores, odds, THRESHOLD),
        "crossfit": cross_fitted_report(scores, odds, table["passage_number"].to_numpy()),
        "calibration": calibration,
        "questions": judged(table, odds, calibration),
    }


@pytest.fixture(scope="session")
def questions(scored: dict[str, Any]) -> "DataFrame":
    table: DataFrame = scored["questions"]
    return table


@pytest.fixture(scope="session")
def drawn(scored: dict[str, Any]) -> "dict[str, Figure]":
    """Every figure by name."""
    questions, metrics, crossfit = (scored[k] for k in ("questions", "metrics", "crossfit"))
    return {
        "threshold": figures.threshold_figure(questions, metrics, crossfit),
        "no_answer": figures.no_answer_figure(questions),
        "precision_recall": figures.precision_recall_figure(questions),
        "calibration": figures.calibration_figure(scored["calibration"]),
        "training": figures.training_figure(TRAINING_CURVE),
        "slices": figures.slices_figure(slices_of(questions)),
    }


@pytest.fixture(scope="session")
def page(scored: dict[str, Any], drawn: "dict[str, Figure]") -> str:
    """The report."""
    metrics, crossfit, questions = (scored[k] for k in ("metrics", "crossfit", "questions"))
    return report_page(
        run=f"mills {HOSTILE}",
        signature=f"{len(questions)} questions of {HOSTILE}",
        scores=official_scores(questions, metrics, crossfit),
        fitted=cross_fitted_scores(crossfit),
        figures=drawn,
        questions=questions,
        settings={"data": {"dev.path": HOSTILE, "dev.sha256": "0" * 64}},
    )
