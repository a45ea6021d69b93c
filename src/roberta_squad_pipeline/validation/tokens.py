"""Measures passages, questions and answers in tokens, as in the features."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.features.build import locate_answers
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import layout_of
from roberta_squad_pipeline.features.tokens import EncodedPassages, row_of
from roberta_squad_pipeline.features.windows import AnswerTokens, plan_windows
from roberta_squad_pipeline.squad.dataset import Passage, Question
from roberta_squad_pipeline.squad.json_input import shown
from roberta_squad_pipeline.validation.report import Counts, Findings

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

_BATCH_CHARACTERS = 1_000_000
"""Of passages that are tokenised together."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The tokenizer and the limits that passages, questions and answers are measured with."""

    tokenizer: "Callable[[], PassageTokenizer]"
    """Loads the tokenizer, once a text has to be tokenised."""
    windows: WindowConfig
    max_answer_tokens: int
    """The most tokens that a predicted answer may have."""


@dataclass(slots=True)
class InTokens:
    """Passages with their questions, which are tokenised and counted many at a time."""

    limits: TokenLimits
    counts: Counts
    """Where windows are counted."""
    findings: Findings
    """Where what is unfit once it is tokenised is added."""
    longest_question: int = 0
    """In tokens."""
    _waiting: list[tuple[str, Passage]] = field(default_factory=list)
    _characters: int = 0

    def add(self, where: str, passage: Passage) -> None:
        """Keeps a passage until there are many, or `measure` is called.

        Args:
            where: Its file and place there.
            passage: Not blank.
        """
        self._waiting.append((where, passage))
        self._characters += len(passage.text)
        if self._characters > _BATCH_CHARACTERS:
            self.measure()

    def measure(self) -> None:
        """Tokenises the passages that were kept, and counts their windows."""
        waiting, self._waiting, self._characters = self._waiting, [], 0
        if not waiting:
            return
        texts = [passage.text for _, passage in waiting]
        passages = self.limits.tokenizer().passages(texts)
        asked: list[Sequence[Question]] = []
        for (where, passage), tokens in zip(waiting, passages.tokens.lengths, strict=True):
            asked.append(passage.questions if tokens else ())
            if not tokens:
                self.findings.odd("no_token", where, shown(passage.text))
        passage_of = row_of(np.array([len(questions) for questions in asked]))
        together = [question for questions in asked for question in questions]
        self._in_windows(passages, texts, passage_of, together)

    def _in_windows(
        self,
        passages: EncodedPassages,
        texts: Sequence[str],
        passage_of: IntArray,
        asked: Sequence[Question],
    ) -> None:
        tokenizer, config = self.limits.tokenizer(), self.limits.windows
        lengths = tokenizer.questions([one.text for one in asked], config.order).lengths
        gold = [one.answers for one in asked]
        answers, _ = locate_answers(passages, texts, passage_of, gold)
        passage_tokens = passages.tokens.lengths[passage_of]
        question_tokens = np.minimum(lengths, np.int32(config.max_question_tokens))
        plan = partial(
            plan_windows,
            plausible=AnswerTokens(*np.empty((3, 0), np.int32)),
            config=config,
            layout=layout_of(config, tokenizer.identity),
        )
        planned = plan(passage_tokens, question_tokens, answers)
        several = np.array([len(set(of_one)) > 1 for of_one in gold], np.bool_)
        labelled = planned.question[planned.start > 0]
        self.counts.windows += len(planned.question)
        self.counts.labelled_windows += len(labelled)
        self.counts.labelled_windows_of_several_answers += int(several[labelled].sum())
        self.longest_question = max(self.longest_question, int(lengths.max(initial=0)))
        for number in np.flatnonzero(lengths > config.max_question_tokens).tolist():
            got = f"{shown(asked[number].text)}, of {lengths[number]} tokens"
            self.findings.odd("question_cut", asked[number].where, got, asked[number].id)
        each = AnswerTokens(
            np.arange(len(answers.question), dtype=np.int32), answers.first, answers.last
        )
        planned = plan(passage_tokens[answers.question], question_tokens[answers.question], each)
        held = np.bincount(planned.question[planned.start > 0], minlength=len(each.question)) > 0
        self._find_unreachable(asked, each, held.tolist())

    def _find_unreachable(
        self, asked: Sequence[Question], answers: AnswerTokens, held: Iterable[bool]
    ) -> None:
        """Answers that a reader can neither learn nor predict."""
        tokens = np.where(answers.first >= 0, answers.last - answers.first + 1, 0).tolist()
        placed = ((one.id, answer) for one in asked for answer in one.answers)
        for (question_id, answer), length, is_held in zip(placed, tokens, held, strict=True):
            kinds = []
            if not length:
                kinds.append("answer_without_token")
            elif not is_held:
                kinds.append("answer_beyond_windows")
            if length > self.limits.max_answer_tokens:
                kinds.append("answer_too_long")
            for kind in kinds:
                got = f"{shown(answer.text)}, of {length} tokens"
                self.findings.odd(kind, answer.where, got, question_id)
