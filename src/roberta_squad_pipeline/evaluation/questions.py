"""One table of all questions, gold answers and predictions, from which every score is computed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.calibration import (
    Calibration,
    Tuning,
    calibrate,
    held_against,
    span_margin,
    span_probabilities,
    unfit_to_calibrate,
)
from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD, NullScore
from roberta_squad_pipeline.evaluation.no_answer import HEAD_ALONE, NoAnswerLogits
from roberta_squad_pipeline.evaluation.scoring import QuestionScores, report_of, score_questions
from roberta_squad_pipeline.evaluation.uncertainty import cross_fitted_report, in_first_half
from roberta_squad_pipeline.squad.dataset import SquadDataset

OUTCOMES = {
    "right": "right answer",
    "partly": "partly right",
    "wrong": "wrong span",
    "missed": "abstained, but there is an answer",
    "invented": "answered, but there is no answer",
    "abstained": "rightly abstained",
}
"""The possible outcomes of a question, by their names in the table."""

SPANS = 5
"""How many of a question's best spans the table has."""

_QUESTION_WORD = re.compile(
    r"\b(how many|how much|how|what|which|who|whom|whose|when|where|why)\b", re.IGNORECASE
)


def question_table(
    dataset: SquadDataset, nbest: pa.Table, windows: Mapping[str, int]
) -> pd.DataFrame:
    """Joins questions, gold answers and predictions, and scores every question.

    Args:
        dataset: The questions.
        nbest: A row per question: `id`; `text`, `char_start`, `char_end` and `score` of its best
            spans, best first, of which the first is the prediction; `head_logit` and `span_logit`.
        windows: The number of windows that each question was read in, by question id.

    Returns:
        One row per question in file order. `exact` and `f1` (0 to 1) are the scores of the
        predicted text if the reader does not abstain; `span_starts`, `span_ends` and `span_scores`
        belong to the best spans, best first; `answer_starts` belong to the answers with a known
        place, which come first in `answers`; `passage_number` counts from 0.

    Raises:
        InputError: A question lacks a prediction or windows, or has a score or logit that is not
            finite, or the table lacks the no-answer logits.
    """
    questions = dataset.questions
    ids = [question.id for question in questions]
    if "head_logit" not in nbest.column_names:
        raise InputError(
            where="nbest.parquet",
            got=f"the columns {', '.join(nbest.column_names)}, as an earlier version wrote them",
            expected="head_logit and span_logit among them",
            remedy="Predict again: kedro run --pipelines inference,evaluate",
        )
    row_of = {question: row for row, question in enumerate(nbest["id"].to_pylist())}
    for where, known in (("nbest.parquet", row_of), ("dev features", windows)):
        _check_complete(ids, known, where)
    found = nbest.take([row_of[question] for question in ids])
    predicted = pc.list_element(found["text"], 0).to_pylist()
    # Without the texts of the other spans, which nothing here needs.
    spans = found.drop_columns(["text"]).to_pydict()
    _check_finite(spans)
    scores = score_questions(dataset.gold, dict(zip(ids, predicted, strict=True)))
    numbered = [
        (number, passage)
        for number, passage in enumerate(dataset.passages)
        for _ in passage.questions
    ]
    return pd.DataFrame(
        {
            "id": ids,
            "question": [question.text for question in questions],
            "predicted": predicted,
            "span_starts": [best[:SPANS] for best in spans["char_start"]],
            "span_ends": [best[:SPANS] for best in spans["char_end"]],
            "span_scores": [best[:SPANS] for best in spans["score"]],
            "answers": [list(question.gold) for question in questions],
            "answer_starts": [[answer.start for answer in q.answers] for q in questions],
            "answerable": scores.answerable,
            "exact": scores.exact,
            "f1": scores.f1,
            "head_logit": spans["head_logit"],
            "span_logit": spans["span_logit"],
            "span_margin": [span_margin(best) for best in spans["score"]],
            "question_word": [question_word(question.text) for question in questions],
            # Of the first answer.
            "answer_words": [len(q.gold[0].split()) if q.gold else 0 for q in questions],
            "passage_words": [len(passage.text.split()) for _, passage in numbered],
            "windows": [windows[question] for question in ids],
            "title": [passage.title for _, passage in numbered],
            "passage": [passage.text for _, passage in numbered],
            "passage_number": [number for number, _ in numbered],
        }
    )


def scores_of(questions: pd.DataFrame) -> QuestionScores:
    """The scores of a table's questions if the reader does not abstain."""
    return QuestionScores(
        tuple(questions["id"]),
        questions["exact"].to_numpy(),
        questions["f1"].to_numpy(),
        answerable=questions["answerable"].to_numpy(),
        answered=(questions["predicted"] != "").to_numpy(),
    )


class ReaderScores(NamedTuple):
    """What a table of questions says of the reader that answered them."""

    tuning: Tuning
    no_answer_scores: Float64Array
    """High = unanswerable. Shape: (questions,)"""
    metrics: dict[str, float | int]
    """The official scorer's report at the recipe's threshold."""
    crossfit: dict[str, Any]
    """See `cross_fitted_report`."""
    at_threshold: dict[str, float | int]
    """The official scorer's report at the reader's own threshold, and `abstained`, the share of
    questions on which it abstains, 0 to 1."""


def score_reader(
    questions: pd.DataFrame, null_score: NullScore, kept: Tuning | None
) -> ReaderScores:
    """Scores a reader, and tunes it on the questions.

    Args:
        questions: See `question_table`.
        null_score: The rule for the no-answer score.
        kept: The tuning of other questions, which the reader keeps; None to tune it on these.
    """
    scores, passages = scores_of(questions), questions["passage_number"].to_numpy()
    head, span, margins = (
        questions[name].to_numpy() for name in ("head_logit", "span_logit", "span_margin")
    )
    weights, fitted_on = kept.no_answer_weights if kept else HEAD_ALONE, None
    if not kept and not unfit_to_calibrate(scores.answerable):
        logits = NoAnswerLogits(head, span, ~scores.answerable, null_score)
        weights = logits.weights_fitted_on(np.ones(len(questions), np.bool_))
        fitted_on = logits.scores_fitted_on
    odds = weights.scores(head, span)
    if kept:
        calibration = held_against(kept.calibration, scores, odds, margins)
    else:
        calibration = calibrate(scores, odds, margins, in_first_half(passages), fitted_on)
    threshold = calibration.abstains_above
    own = report_of(scores, odds, threshold)
    at_threshold = {name: own[name] for name in own if not name.startswith("best_")}
    return ReaderScores(
        Tuning(no_answer_weights=weights, calibration=calibration),
        odds,
        report_of(scores, odds, NO_ANSWER_THRESHOLD),
        cross_fitted_report(scores, odds, passages, fitted_on),
        at_threshold | {"abstained": float((odds > threshold).mean())},
    )


def judged(
    questions: pd.DataFrame, no_answer_scores: Float64Array, calibration: Calibration
) -> pd.DataFrame:
    """Adds the outcome of every question at the recipe's threshold.

    Args:
        questions: See `question_table`.
        no_answer_scores: High = unanswerable. Shape: (questions,)
        calibration: Turns scores into probabilities.

    Returns:
        The table with `outcome` (see `OUTCOMES`), `abstains`, `scored_exact` and `scored_f1` (the
        question's scores at the threshold), `no_answer_score`, both probabilities, and those of the
        best spans.
    """
    scores, odds = scores_of(questions), no_answer_scores
    margins = questions["span_margin"].to_numpy()
    no_answer, answer = calibration.probabilities(odds, margins)
    abstains = odds > NO_ANSWER_THRESHOLD
    spans: pd.Series[Any] = pd.Series(
        [
            span_probabilities(best, margin, right=right, otherwise=1 - right - none)
            for best, margin, right, none in zip(
                questions["span_scores"], margins, answer, no_answer, strict=True
            )
        ],
        index=questions.index,
    )
    return questions.assign(
        outcome=_outcomes(scores, abstains),
        abstains=abstains,
        scored_exact=scores.at(NO_ANSWER_THRESHOLD, scores.exact, odds),
        scored_f1=scores.at(NO_ANSWER_THRESHOLD, scores.f1, odds),
        no_answer_score=odds,
        no_answer_probability=no_answer,
        answer_probability=answer,
        span_probabilities=spans,
    )


def surest_answer(questions: pd.DataFrame) -> dict[str, str] | None:
    """Of the questions that a reader answers right, the one it is surest of, with its passage.

    Args:
        questions: See `judged`.

    Returns:
        None if it answers none right.
    """
    right = questions[questions["answerable"] & ~questions["abstains"]]
    surest = right[right["scored_exact"] > 0].nsmallest(1, "no_answer_score")
    rows: list[Any] = surest[["question", "passage"]].to_dict("records")
    return rows[0] if rows else None


def question_word(question: str) -> str:
    """The first question word in lower case; "other" if there is none."""
    found = _QUESTION_WORD.search(question)
    word = found[1].lower() if found else "other"
    return "who" if word == "whom" else word


def _outcomes(scores: QuestionScores, abstains: BoolArray) -> NDArray[np.str_]:
    return np.select(
        [
            abstains & scores.answerable,
            abstains,
            ~scores.answerable & (scores.exact == 0),
            # An empty answer to an unanswerable question amounts to abstaining.
            ~scores.answerable,
            scores.exact == 1,
            scores.f1 > 0,
        ],
        ["missed", "abstained", "invented", "abstained", "right", "partly"],
        default="wrong",
    )


def _check_complete(ids: Sequence[str], known: Mapping[str, Any], where: str) -> None:
    missing = next((question for question in ids if question not in known), None)
    if missing is not None:
        raise InputError(
            where=where,
            got=f"nothing for question {missing}",
            expected="an entry for each question of the dev file",
            remedy="It is of another file: kedro run --pipelines features,inference,evaluate, with "
            "the same --params.",
        )


def _check_finite(spans: Mapping[str, Sequence[Any]]) -> None:
    """Infinite values could neither be fitted nor saved as numbers."""
    columns = (spans[name] for name in ("id", "score", "head_logit", "span_logit"))
    for question, best, head, span in zip(*columns, strict=True):
        if not np.isfinite([*best, head, span]).all():
            raise InputError(
                where=f"predictions of question {question}",
                got="scores or logits that are infinite or not numbers",
                expected="finite ones",
                remedy="Look at the reader's weights, then predict again: kedro run --pipelines "
                "inference,evaluate, with the same --params.",
            )
