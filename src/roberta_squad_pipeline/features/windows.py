"""Cuts tokenised passages into overlapping windows and labels them.

A window is what the reader sees at once. It has one of two forms::

    passage_first    <s> passage </s> Q: question </s>           the published series' form
    question_first   <s> question </s></s> passage </s>          the tokenizer's own form of a pair,
                                                                 with one or two separators

Positions in a window are counted from the ``<s>``, passage tokens from the passage's first token.
"""

from dataclasses import dataclass

import numpy as np

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.features.config import Order, WindowConfig

NO_ANSWER_POSITION = 0
"""Start and end label of a window without a whole answer: the position of ``<s>``."""
UNLABELLED = -100
"""Start and end label in windows of unlabelled questions; torch's cross-entropy ignores it."""


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """Where passage and question are in a window; all other tokens are special tokens."""

    order: Order
    separators: int
    """Number of special tokens between the two texts."""

    @property
    def special_tokens(self) -> int:
        """Number of special tokens in a window: one at either end, and the separators."""
        return 2 + self.separators

    def passage_position(self, question_tokens: IntArray) -> IntArray:
        """Position of the first passage token.

        Args:
            question_tokens: Length of each window's question. Shape: (windows,)

        Returns:
            Shape: (windows,)
        """
        if self.order == "passage_first":
            return np.ones_like(question_tokens)
        return 1 + question_tokens + np.int32(self.separators)

    def question_position(self, passage_tokens: IntArray) -> IntArray:
        """Position of the first question token.

        Args:
            passage_tokens: Number of passage tokens in each window. Shape: (windows,)

        Returns:
            Shape: (windows,)
        """
        if self.order == "question_first":
            return np.ones_like(passage_tokens)
        return 1 + passage_tokens + np.int32(self.separators)


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """Where answers are, in passage tokens; a question may have any number of them."""

    question: IntArray
    """Index of each answer's question, in rising order. Shape: (answers,)"""
    first: IntArray
    """First token; negative if the answer has no tokens. Shape: (answers,)"""
    last: IntArray
    """Last token. Shape: (answers,)"""


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of many questions, one array element per window, in the order of the questions.

    Every array has the shape (windows,).
    """

    question: IntArray
    """Index of the window's question."""
    first: IntArray
    """The window's first passage token."""
    count: IntArray
    """Number of passage tokens in the window."""
    start: IntArray
    """Window position of the answer's first token, `NO_ANSWER_POSITION`, or `UNLABELLED`."""
    end: IntArray
    """Window position of the answer's last token, `NO_ANSWER_POSITION`, or `UNLABELLED`."""
    plausible_start: IntArray
    """Window position of the first token of a plausible answer to an unanswerable question, or
    `NO_ANSWER_POSITION` if there is none in the window."""
    plausible_end: IntArray
    """Window position of its last token, or `NO_ANSWER_POSITION`."""
    context_first: IntArray
    """First passage token that has more context here than in any other window."""
    context_last: IntArray
    """Last such token; the tokens between them belong to this window as well."""


def plan_windows(
    passage_tokens: IntArray,
    question_tokens: IntArray,
    answers: AnswerTokens,
    plausible: AnswerTokens,
    *,
    config: WindowConfig,
    layout: WindowLayout,
) -> Windows:
    """Cuts each question's passage into windows.

    A window has as many passage tokens as fit beside the question. Windows of a passage start
    `stride` tokens apart until one contains its last token.

    Args:
        passage_tokens: Length of each question's passage in tokens. Shape: (questions,)
        question_tokens: Length of each question in tokens, at most
            `config.max_question_tokens`. Shape: (questions,)
        answers: The gold answers. A window is labelled with the first whole one inside it.
        plausible: Plausible answers to the unanswerable questions.
        config: The limits.
        layout: Where the texts are in a window.

    Returns:
        The windows of all questions; each question has at least one.
    """
    room = config.max_tokens - layout.special_tokens - question_tokens
    uncovered = np.maximum(passage_tokens - room, 0)
    windows_per_question = 1 + -(-uncovered // config.stride)
    question = np.repeat(np.arange(len(room), dtype=np.int32), windows_per_question)
    rank = np.arange(len(question)) - np.repeat(
        np.cumsum(windows_per_question) - windows_per_question, windows_per_question
    )
    first = (rank * config.stride).astype(np.int32)
    count = np.minimum(room[question], passage_tokens[question] - first).astype(np.int32)
    position = layout.passage_position(question_tokens[question])
    (start, end), (plausible_start, plausible_end) = (
        _labels(question, first, count, position, spans) for spans in (answers, plausible)
    )
    context_first, context_last = _max_context(question, first, count)
    return Windows(
        question=question,
        first=first,
        count=count,
        start=start,
        end=end,
        plausible_start=plausible_start,
        plausible_end=plausible_end,
        context_first=context_first,
        context_last=context_last,
    )


def _labels(
    question: IntArray, first: IntArray, count: IntArray, position: IntArray, answers: AnswerTokens
) -> tuple[IntArray, IntArray]:
    """Positions of the first answer that lies wholly inside each window.

    All windows are tried with their question's first answer, those that do not contain it with the
    second, and so on.
    """
    start, end = np.full((2, len(question)), NO_ANSWER_POSITION, np.int32)
    of_question = np.bincount(answers.question, minlength=question.max(initial=-1) + 1)
    begins = np.cumsum(of_question) - of_question
    rows = np.arange(len(question))
    for rank in range(of_question.max(initial=0)):
        rows = rows[(of_question[question[rows]] > rank) & (start[rows] == NO_ANSWER_POSITION)]
        answer = begins[question[rows]] + rank
        answer_first, answer_last = answers.first[answer], answers.last[answer]
        held = (answer_first >= first[rows]) & (answer_last < first[rows] + count[rows])
        offset = position[rows] - first[rows]
        start[rows[held]] = (answer_first + offset)[held]
        end[rows[held]] = (answer_last + offset)[held]
    return start, end


def _max_context(question: IntArray, first: IntArray, count: IntArray) -> tuple[IntArray, IntArray]:
    """Assigns every passage token to the window in which it has the most context.

    A token's context in a window is min(tokens left of it, tokens right of it) plus a hundredth
    of the window's passage tokens; of equal windows the earlier one wins. (The score comes from
    BERT's SQuAD code, Devlin et al. 2018.) From token to token, the later of two neighbouring
    windows never loses ground to the earlier one. So each window owns one unbroken run of tokens,
    and the next window's run begins where it ends.
    """
    # Scores times a hundred are integers, so that ties are exact.
    last = first + count - 1
    first_of_next = np.append(first[1:], 0)
    last_of_next = np.append(last[1:], 0)
    shortfall = count - np.append(count[1:], 0)
    lead_at_far_end = 100 * (last_of_next - last) - shortfall
    crossing = (100 * (first_of_next + last) + shortfall) // 200 + 1
    next_begins = np.where(lead_at_far_end > 0, np.minimum(crossing, last + 1), last + 1)
    has_next = np.append(question[1:] == question[:-1], False)
    context_last = np.where(has_next, next_begins - 1, last).astype(np.int32)
    has_previous = np.append(False, has_next[:-1])
    context_first = np.where(has_previous, np.append(0, next_begins[:-1]), first)
    return context_first.astype(np.int32), context_last
