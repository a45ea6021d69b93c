"""Measures passages, questions and answers in tokens, as in the features."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.features.build import locate_answers
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import layout_of
from roberta_squad_pipeline.features.tokens import EncodedPassages, row_of
from roberta_squad_pipeline.features.windows import AnswerTokens, plan_windows
from roberta_squad_pipeline.squad.dataset import GoldAnswer
from roberta_squad_pipeline.squad.json_input import shown

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

TokenKind = Literal[
    "no_token",
    "question_cut",
    "answer_without_token",
    "answer_too_long",
    "answer_beyond_windows",
]


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The tokenizer and the limits that passages, questions and answers are measured with."""

    tokenizer: "Callable[[], PassageTokenizer]"
    """Loads the tokenizer, once a text has to be tokenised."""
    windows: WindowConfig
    max_answer_tokens: int
    """The most tokens that a predicted answer may have."""


@dataclass(frozen=True, slots=True)
class PlacedQuestion:
    """A question with those answers whose place is known, each with its file and place there."""

    where: str
    id: str
    text: str
    answers: tuple[tuple[str, GoldAnswer], ...]


@dataclass(frozen=True, slots=True)
class TokenFault:
    """A passage, question or answer that is unfit once it is tokenised."""

    kind: TokenKind
    where: str
    """Its file and place there."""
    question_id: str | None
    got: str
    """The text in question, shortened."""


@dataclass(slots=True)
class InTokens:
    """Passages with their questions that are to be tokenised together, and counts."""

    limits: TokenLimits
    characters: int = 0
    """Characters of the passages that are not tokenised yet."""
    windows: int = 0
    """Windows of all passages so far."""
    labelled: int = 0
    """Of these, windows that hold a whole gold answer."""
    labelled_of_several: int = 0
    """Of these again, windows whose question has several gold answers in different places."""
    longest_question: int = 0
    """In tokens."""
    _waiting: list[tuple[str, str, Sequence[PlacedQuestion]]] = field(default_factory=list)

    def add(self, where: str, context: str, questions: Sequence[PlacedQuestion]) -> None:
        """Keeps a passage until it is measured.

        Args:
            where: The passage's file and place there.
            context: The passage, not blank.
            questions: Questions on it, with answers whose places are known.
        """
        self._waiting.append((where, context, questions))
        self.characters += len(context)

    def measured(self) -> Iterator[TokenFault]:
        """Tokenises the passages that were kept, counts their windows, and yields their faults."""
        waiting, self._waiting, self.characters = self._waiting, [], 0
        if not waiting:
            return
        texts = [text for _, text, _ in waiting]
        passages = self.limits.tokenizer().passages(texts)
        asked: list[list[PlacedQuestion]] = []
        for (where, text, questions), tokens in zip(waiting, passages.tokens.lengths, strict=True):
            asked.append(list(questions) if tokens else [])
            if not tokens:
                yield TokenFault("no_token", where, None, shown(text))
        passage_of = row_of(np.array([len(questions) for questions in asked]))
        together = [question for questions in asked for question in questions]
        yield from self._in_windows(passages, texts, passage_of, together)

    def _in_windows(
        self,
        passages: EncodedPassages,
        texts: Sequence[str],
        passage_of: IntArray,
        asked: Sequence[PlacedQuestion],
    ) -> Iterator[TokenFault]:
        tokenizer, config = self.limits.tokenizer(), self.limits.windows
        lengths = tokenizer.whole_questions([one.text for one in asked], config.order).lengths
        gold = [tuple(answer for _, answer in one.answers) for one in asked]
        answers, _ = locate_answers(passages, texts, passage_of, gold)
        none = AnswerTokens(*np.empty((3, 0), np.int32))
        passage_tokens = passages.tokens.lengths[passage_of]
        question_tokens = np.minimum(lengths, np.int32(config.max_question_tokens))
        layout = layout_of(config, tokenizer.identity)
        planned = plan_windows(
            passage_tokens, question_tokens, answers, none, config=config, layout=layout
        )
        several = np.array([len(set(of_one)) > 1 for of_one in gold], np.bool_)
        labelled = planned.question[planned.start > 0]
        self.windows += len(planned.question)
        self.labelled += len(labelled)
        self.labelled_of_several += int(several[labelled].sum())
        self.longest_question = max(self.longest_question, int(lengths.max(initial=0)))
        for number in np.flatnonzero(lengths > config.max_question_tokens).tolist():
            got = f"{shown(asked[number].text)}, of {lengths[number]} tokens"
            yield TokenFault("question_cut", asked[number].where, asked[number].id, got)
        each = AnswerTokens(
            np.arange(len(answers.question), dtype=np.int32), answers.first, answers.last
        )
        planned = plan_windows(
            passage_tokens[answers.question],
            question_tokens[answers.question],
            each,
            none,
            config=config,
            layout=layout,
        )
        held = np.bincount(planned.question[planned.start > 0], minlength=len(each.question)) > 0
        yield from self._unreachable(asked, each, held.tolist())

    def _unreachable(
        self, asked: Sequence[PlacedQuestion], answers: AnswerTokens, held: Iterable[bool]
    ) -> Iterator[TokenFault]:
        """Answers that a reader can neither learn nor predict."""
        tokens = np.where(answers.first >= 0, answers.last - answers.first + 1, 0).tolist()
        placed = ((one.id, where, answer) for one in asked for where, answer in one.answers)
        for (question_id, where, answer), length, is_held in zip(placed, tokens, held, strict=True):
            got = f"{shown(answer.text)}, of {length} tokens"
            if not length:
                yield TokenFault("answer_without_token", where, question_id, got)
            elif not is_held:
                yield TokenFault("answer_beyond_windows", where, question_id, got)
            if length > self.limits.max_answer_tokens:
                yield TokenFault("answer_too_long", where, question_id, got)
