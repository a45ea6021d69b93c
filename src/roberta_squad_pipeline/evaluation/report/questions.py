"""Every dev question with what was predicted for it, as one table."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.calibration import Calibration, span_margin
from roberta_squad_pipeline.evaluation.scoring import score_questions, scores_in_order
from roberta_squad_pipeline.squad.dataset import SquadDataset

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = {
    "right": "right answer",
    "partly": "partly right",
    "wrong": "wrong span",
    "missed": "abstained, but there is an answer",
    "invented": "answered, but there is no answer",
    "abstained": "rightly abstained",
}
"""What can come of a question, by the name that the table has for it."""

_QUESTION_WORD = re.compile(
    r"\b(how many|how much|how|what|which|who|whom|whose|when|where|why)\b", re.IGNORECASE
)
_SAME_WORD = {"whom": "who"}


def question_table(
    dataset: SquadDataset,
    nbest: Mapping[str, Sequence[Mapping[str, Any]]],
    no_answer_scores: Mapping[str, float],
    windows: Mapping[str, int],
    calibration: Calibration,
    *,
    threshold: float,
) -> "pd.DataFrame":
    """Puts the table together.

    Args:
        dataset: The questions.
        nbest: By question id the best spans, best first, with `text`, `char_start`, `char_end` and
            `score`.
        no_answer_scores: High = unanswerable, by question id.
        windows: How many windows each question was read in, by question id.
        calibration: Turns scores into probabilities.
        threshold: Questions with a no-answer score above it are abstained from.

    Returns:
        One row per question in file order. `exact` and `f1` (0 to 1) are what the best span scores
        if it stands, `scored_exact` and `scored_f1` what the question scores at the threshold; gold
        spans are lists in characters.

    Raises:
        InputError: A question has no spans, no score or no windows.
    """
    import pandas as pd

    questions = dataset.questions
    ids = [question.id for question in questions]
    _check_complete(ids, nbest, where="nbest.json")
    _check_complete(ids, windows, where="dev features")
    best = [nbest[question][0] for question in ids]
    scores = score_questions(
        dataset.gold, {question: span["text"] for question, span in zip(ids, best, strict=True)}
    )
    odds = scores_in_order(ids, no_answer_scores)
    margins = np.array([span_margin([s["score"] for s in nbest[question]]) for question in ids])
    no_answer, answer = calibration.probabilities(odds, margins)
    abstains = odds > threshold
    in_file_order = [passage for passage in dataset.passages for _ in passage.questions]
    return pd.DataFrame(
        {
            "id": ids,
            "question": [question.text for question in questions],
            "outcome": _outcomes(scores.exact, scores.f1, scores.answerable, abstains),
            "predicted": [span["text"] for span in best],
            "predicted_start": [span["char_start"] for span in best],
            "predicted_end": [span["char_end"] for span in best],
            "answers": [[answer.text for answer in question.answers] for question in questions],
            "answer_starts": [[answer.start for answer in q.answers] for q in questions],
            "answerable": scores.answerable,
            "abstains": abstains,
            "exact": scores.exact,
            "f1": scores.f1,
            "scored_exact": np.where(abstains, ~scores.answerable, scores.exact),
            "scored_f1": np.where(abstains, ~scores.answerable, scores.f1),
            "no_answer_score": odds,
            "no_answer_probability": no_answer,
            "answer_probability": answer,
            "question_word": [question_word(question.text) for question in questions],
            "answer_words": [_words_of_first(question.answers) for question in questions],
            "passage_words": [len(passage.text.split()) for passage in in_file_order],
            "windows": [windows[question] for question in ids],
            "title": [passage.title for passage in in_file_order],
            "passage": [passage.text for passage in in_file_order],
        }
    )


def question_word(question: str) -> str:
    """The first word that asks, in lower case; "other" where there is none."""
    found = _QUESTION_WORD.search(question)
    if found is None:
        return "other"
    word = found[1].lower()
    return _SAME_WORD.get(word, word)


def _outcomes(
    exact: NDArray[np.float64],
    f1: NDArray[np.float64],
    answerable: NDArray[np.bool_],
    abstains: NDArray[np.bool_],
) -> NDArray[np.str_]:
    return np.select(
        [
            abstains & answerable,
            abstains,
            ~answerable & (exact == 0),
            # An empty text on an unanswerable question is an abstention in other words.
            ~answerable,
            exact == 1,
            f1 > 0,
        ],
        ["missed", "abstained", "invented", "abstained", "right", "partly"],
        default="wrong",
    )


def _words_of_first(answers: Sequence[Any]) -> int:
    return len(answers[0].text.split()) if answers else 0


def _check_complete(ids: Sequence[str], known: Mapping[str, Any], *, where: str) -> None:
    missing = next((question for question in ids if not known.get(question)), None)
    if missing is not None:
        raise InputError(
            where=where,
            got=f"nothing on question {missing}",
            expected="something on each question of the dev file",
            remedy="It is of another file: kedro run --pipelines features,inference,evaluate, with "
            "the same --params.",
        )
