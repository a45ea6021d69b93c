"""Exact match, F1 and the report of the official SQuAD 2.0 scorer.

Definitions: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (2016)
and "Know What You Don't Know: Unanswerable Questions for SQuAD" (2018). Figures are equal to those
of the official scorer, its treatment of ties and odd cases included.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array
from roberta_squad_pipeline.common.errors import InputError

_PUNCTUATION = string.punctuation.encode()
# Whether a word begins there is asked last: a search for letters is faster than one for beginnings.
_ARTICLES = re.compile(r"(?:a(?<=\ba)|an(?<=\ban)|the(?<=\bthe))\b")


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """The outcome of a threshold search.

    Args:
        score: The best mean score, in per cent.
        threshold: Questions with a no-answer score above it are taken as unanswerable; minus
            infinity if it is best to abstain everywhere.
    """

    score: float
    threshold: float


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """What every question scores if its predicted text stands, whatever its no-answer score.

    Args:
        ids: The questions that have a prediction, in the data set's order.
        exact: 1 where the prediction equals a gold answer, else 0. Shape: (questions,)
        f1: Overlap with the most similar gold answer, 0 to 1. Shape: (questions,)
        answerable: Whether the question has a gold answer. Shape: (questions,)
        answered: Whether the predicted text is not empty. Shape: (questions,)
    """

    ids: tuple[str, ...]
    exact: NDArray[np.float64]
    f1: NDArray[np.float64]
    answerable: BoolArray
    answered: BoolArray

    def of(self, rows: ArrayLike) -> "QuestionScores":
        """Those of some questions.

        Args:
            rows: A mask, or numbers in a new order.
        """
        chosen = np.arange(len(self.ids))[np.asarray(rows)]
        return QuestionScores(
            tuple(self.ids[row] for row in chosen),
            *(part[chosen] for part in (self.exact, self.f1, self.answerable, self.answered)),
        )

    def at(self, threshold: float, values: Float64Array, odds: Float64Array) -> Float64Array:
        """What each question scores if questions above a threshold are abstained from.

        Args:
            threshold: On the no-answer score.
            values: `exact` or `f1`. Shape: (questions,)
            odds: No-answer scores, high = unanswerable. Shape: (questions,)

        Returns:
            0 to 1. Shape: (questions,)
        """
        # Abstaining is right exactly where there is no answer.
        return np.where(odds > threshold, ~self.answerable, values).astype(np.float64)

    def best_threshold(self, values: Float64Array, odds: Float64Array) -> BestThreshold:
        """Searches for the threshold as the official SQuAD 2.0 scorer does.

        It starts from abstaining everywhere, and moves the threshold up through the no-answer
        scores, one question at a time. That question then counts with its answer: an answerable one
        gains its score, an unanswerable one loses its point if it was answered. The first of
        several equal maxima wins. Among questions with equal no-answer scores the given order
        decides, and a maximum may lie between them although no threshold can separate them; the
        official figures include such maxima, so these do, too.

        Args:
            values: `exact` or `f1`. Shape: (questions,)
            odds: No-answer scores, high = unanswerable; finite. Shape: (questions,)

        Raises:
            ValueError: There are no questions.
        """
        if not len(values):
            raise ValueError("got no questions; expected at least one to search a threshold on")
        order = np.argsort(odds, kind="stable")
        gains = np.where(self.answerable, values, -self.answered.astype(np.float64))[order]
        abstaining = np.count_nonzero(~self.answerable)
        # A running sum from the left, like the official one, so that equal totals stay equal in
        # floating point and the first of them is found.
        totals = np.cumsum(np.concatenate(([abstaining], gains)))
        best = int(np.argmax(totals))
        threshold = float(odds[order[best - 1]]) if best else -np.inf
        return BestThreshold(float(100.0 * totals[best] / len(values)), threshold)


def normalise(text: str) -> str:
    """Strips an answer of what the scores ignore.

    Args:
        text: A gold answer or a prediction.

    Returns:
        The text in lower case, without ASCII punctuation and English articles, with single spaces.
    """
    return " ".join(normalised_words([text])[0])


def normalised_words(texts: Iterable[str]) -> list[list[str]]:
    """Each text's words once it is normalised, with one call per step for all texts."""
    texts = list(texts)
    lines = "\n".join(texts).lower()
    if lines.count("\n") >= len(texts):
        # A line break inside a text is white space as a blank is.
        lines = "\n".join(text.replace("\n", " ") for text in texts).lower()
    # Punctuation goes first and leaves no gap, so that "a.m." is one word and not an article. Taken
    # out of text it would take fifty times as long; in UTF-8 no other character has its bytes.
    without_punctuation = lines.encode("utf-8", "surrogatepass").translate(None, _PUNCTUATION)
    lines = _ARTICLES.sub(" ", without_punctuation.decode("utf-8", "surrogatepass"))
    return [line.split() for line in lines.split("\n")[: len(texts)]]


def word_f1(gold: Sequence[str], prediction: Sequence[str]) -> float:
    """Takes the harmonic mean of precision and recall over words.

    Args:
        gold: The words of a normalised gold answer.
        prediction: Those of a normalised prediction.

    Returns:
        0 to 1; where one of the two is empty, 1 if both are.
    """
    if gold == prediction:
        return 1.0
    distinct_gold = set(gold)
    if distinct_gold.isdisjoint(prediction):
        return 0.0
    distinct_predicted = set(prediction)
    common = len(distinct_gold & distinct_predicted)
    if len(distinct_gold) < len(gold) and len(distinct_predicted) < len(prediction):
        common = (Counter(gold) & Counter(prediction)).total()
    precision, recall = common / len(prediction), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def score_questions(
    gold: Mapping[str, Sequence[str]], predictions: Mapping[str, str]
) -> QuestionScores:
    """Scores every question that has a prediction against its gold answers.

    Gold answers that normalise to nothing do not count. Where none is left, and for unanswerable
    questions, the empty text is the only right prediction.

    Args:
        gold: The texts of the gold answers by question id; none if unanswerable.
        predictions: The predicted text by question id; empty for "no answer". Ids that ``gold``
            does not know are ignored.

    Returns:
        The scores; questions without a prediction are left out.
    """
    ids = tuple(question_id for question_id in gold if question_id in predictions)
    texts = {predictions[question_id] for question_id in ids}
    texts.update(*(gold[question_id] for question_id in ids))
    words = dict(zip(texts, normalised_words(texts), strict=True))
    exact, f1 = [], []
    for question_id in ids:
        golds, prediction = gold[question_id], words[predictions[question_id]]
        answers = [words[text] for text in set(golds) if words[text]] if golds else []
        right = prediction in answers if answers else not prediction
        exact.append(float(right))
        if right or not answers or not prediction:
            f1.append(float(right))
        else:
            f1.append(max([word_f1(each, prediction) for each in answers]))
    return QuestionScores(
        ids,
        np.array(exact),
        np.array(f1),
        answerable=np.array([bool(gold[question_id]) for question_id in ids], dtype=bool),
        answered=np.array([bool(predictions[question_id]) for question_id in ids], dtype=bool),
    )


def squad_report(
    gold: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    *,
    no_answer_scores: Mapping[str, float] | None,
    threshold: float,
) -> dict[str, float | int]:
    """Makes the report of the official SQuAD 2.0 scorer.

    A question without a prediction scores 0 whatever the threshold, and counts in every total. (So
    it does in the official scorer of SQuAD 1.1; the one of 2.0 stops there.) The fields of a kind
    of question are left out where there are none of that kind, and ``best_*`` where there are no
    no-answer scores.

    Args:
        gold: The texts of the gold answers by question id; none if unanswerable.
        predictions: The predicted text by question id; empty for "no answer".
        no_answer_scores: High = unanswerable, by question id, for every question that is predicted;
            the order of the ids decides ties in the search for the best threshold. None stands
            for a score of 0 on every question.
        threshold: Questions with a no-answer score above it are taken as unanswerable, whatever
            the predicted text.

    Returns:
        Percentages, counts and thresholds by name: exact, f1, total, then the same prefixed by
        HasAns and by NoAns, then best_exact, best_exact_thresh, best_f1, best_f1_thresh.

    Raises:
        InputError: No question has a prediction, or one that has lacks a finite no-answer score.
    """
    scores = score_questions(gold, predictions)
    if not scores.ids:
        raise InputError(
            where="predictions",
            got=f"no prediction for any of the {len(gold)} questions",
            expected="texts by question id, with ids of the data set",
            remedy="Check that predictions and data set belong together.",
        )
    answerable = np.array([bool(texts) for texts in gold.values()])
    if no_answer_scores is None:
        return _at_threshold(scores, np.zeros(len(scores.ids)), threshold, answerable)
    odds = scores_in_order(scores.ids, no_answer_scores)
    row_of = {question_id: row for row, question_id in enumerate(scores.ids)}
    # Ties go by the order in which the no-answer scores were given, as in the official scorer.
    rows = [row_of[question_id] for question_id in no_answer_scores if question_id in row_of]
    at_threshold = _at_threshold(scores, odds, threshold, answerable)
    return at_threshold | _at_best(scores.of(rows), odds[rows], total=len(answerable))


def report_of(
    scores: QuestionScores, no_answer_scores: Float64Array, threshold: float
) -> dict[str, float | int]:
    """The same report of questions that are scored already.

    Args:
        scores: At least one question; their order decides ties.
        no_answer_scores: High = unanswerable; finite. Shape: (questions,)
        threshold: See `squad_report`.
    """
    at_threshold = _at_threshold(scores, no_answer_scores, threshold, scores.answerable)
    return at_threshold | _at_best(scores, no_answer_scores, total=len(scores.ids))


def _at_threshold(
    scores: QuestionScores, odds: Float64Array, threshold: float, answerable: BoolArray
) -> dict[str, float | int]:
    """`answerable` is of all questions, those without a prediction included."""
    exact, f1 = (scores.at(threshold, values, odds) for values in (scores.exact, scores.f1))
    report = _means(exact, f1, len(answerable), prefix="")
    of_kind = scores.answerable
    for prefix, kind, total in (
        ("HasAns_", of_kind, int(answerable.sum())),
        ("NoAns_", ~of_kind, int((~answerable).sum())),
    ):
        if total:
            report |= _means(exact[kind], f1[kind], total, prefix=prefix)
    return report


def _means(
    exact: NDArray[np.float64], f1: NDArray[np.float64], total: int, *, prefix: str
) -> dict[str, float | int]:
    return {
        f"{prefix}exact": 100.0 * _sum(exact) / total,
        f"{prefix}f1": 100.0 * _sum(f1) / total,
        f"{prefix}total": total,
    }


def _sum(values: NDArray[np.float64]) -> float:
    # From the left, not pairwise as numpy's sum: then even the last digit is official.
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def scores_in_order(
    ids: Iterable[str], no_answer_scores: Mapping[str, float]
) -> NDArray[np.float64]:
    """Puts no-answer scores into the order of some questions.

    Args:
        ids: The questions.
        no_answer_scores: High = unanswerable, by question id.

    Returns:
        Shape: (questions,)

    Raises:
        InputError: A question has no finite score.
    """
    odds = [no_answer_scores.get(question_id, np.nan) for question_id in ids]
    values = np.array(odds, dtype=np.float64)
    fine = np.isfinite(values)
    if not fine.all():
        first, *others = compress(ids, ~fine)
        value = no_answer_scores.get(first)
        rest = f" (and {len(others)} more)" if others else ""
        raise InputError(
            where="no-answer scores",
            got=f"{'none' if value is None else value} for the question {first!r}{rest}",
            expected="a finite number for every question that has a prediction",
            remedy="Write predictions and no-answer scores in the same run.",
        )
    return values


def _at_best(scores: QuestionScores, odds: Float64Array, *, total: int) -> dict[str, float | int]:
    predicted = len(scores.ids) / total
    report: dict[str, float | int] = {}
    for name, values in (("exact", scores.exact), ("f1", scores.f1)):
        best = scores.best_threshold(values, odds)
        # Of a reader that should abstain everywhere, the official scorer says 0.
        threshold = best.threshold if np.isfinite(best.threshold) else 0.0
        report |= {f"best_{name}": best.score * predicted, f"best_{name}_thresh": threshold}
    return report
