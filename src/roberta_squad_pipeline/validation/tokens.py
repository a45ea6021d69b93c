"""Answers measured in tokens; most can be told to be short without being tokenised."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.features.build import locate_answers
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import layout_of
from roberta_squad_pipeline.features.tokens import row_of
from roberta_squad_pipeline.features.windows import AnswerTokens, plan_windows
from roberta_squad_pipeline.squad.dataset import GoldAnswer
from roberta_squad_pipeline.squad.json_input import shown

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

TokenKind = Literal["no_token", "answer_without_token", "answer_too_long", "answer_beyond_windows"]


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What passages and answers are measured with."""

    tokenizer: "Callable[[], PassageTokenizer]"
    """Loads it when a text has to be tokenised, if that ever happens."""
    windows: WindowConfig
    max_answer_tokens: int
    """Tokens of a predicted answer at most."""

    @property
    def harmless_tokens(self) -> int:
        """An answer of so many tokens can be predicted, and some window holds it whole.

        Two neighbouring windows share all passage tokens of one but a stride's.
        """
        shared = self.windows.least_room - self.windows.stride
        return min(self.max_answer_tokens, shared + 1)


def is_short(answer: str, most_tokens: int) -> bool:
    """Whether its characters alone tell that an answer has a token and at most `most_tokens`.

    Tokenizers cut a text into pieces of a byte or more, as it is or in a normal form of Unicode, of
    which NFKD is the longest.
    """
    if not has_token(answer) or len(answer) >= most_tokens:
        return False
    forms = [answer] if answer.isascii() else [answer, unicodedata.normalize("NFKD", answer)]
    # SentencePiece puts a token of its own before the first.
    return max(len(form.encode()) for form in forms) + 1 <= most_tokens


def has_token(text: str) -> bool:
    """Whether any tokenizer leaves something of a text: of a letter or digit each one does."""
    return any(map(str.isalnum, text))


@dataclass(frozen=True, slots=True)
class PlacedAnswer:
    """An answer, and how to tell which one it is."""

    where: str
    """File and place in it."""
    question_id: str
    question: str
    answer: GoldAnswer


@dataclass(frozen=True, slots=True)
class TokenFault:
    """A passage or an answer that a reader of tokens cannot deal with."""

    kind: TokenKind
    where: str
    """File and place in it."""
    question_id: str | None
    got: str
    """What it is, in a few words."""


class InTokens:
    """Passages and answers that wait for being tokenised together."""

    def __init__(self, limits: TokenLimits) -> None:
        self._limits = limits
        self._harmless = limits.harmless_tokens
        self._passages: list[tuple[str, str, list[PlacedAnswer]]] = []
        self.characters = 0
        """Of the passages that wait."""

    def add(self, where: str, context: str, answers: Iterable[PlacedAnswer]) -> None:
        """Keeps a passage if some tokenizer could have trouble with it or one of its answers.

        Args:
            where: File and place of the passage in it.
            context: The passage.
            answers: In it, where their starts say.
        """
        doubtful = [one for one in answers if not is_short(one.answer.text, self._harmless)]
        if doubtful or not has_token(context):
            self._passages.append((where, context, doubtful))
            self.characters += len(context)

    def measured(self) -> Iterator[TokenFault]:
        """Tokenises what waits, and says what is wrong with it."""
        waiting, self._passages, self.characters = self._passages, [], 0
        suspects = [(where, text) for where, text, _ in waiting if not has_token(text)]
        empty = self._without_token([text for _, text in suspects])
        for where, text in suspects:
            if text in empty:
                yield TokenFault("no_token", where, None, shown(text))
        kept = [(text, doubtful) for _, text, doubtful in waiting if text not in empty]
        yield from self._unreachable([(text, doubtful) for text, doubtful in kept if doubtful])

    def _without_token(self, texts: Sequence[str]) -> set[str]:
        if not texts:
            return set()
        lengths = self._limits.tokenizer().passages(texts).tokens.lengths
        return {text for text, tokens in zip(texts, lengths.tolist(), strict=True) if not tokens}

    def _unreachable(
        self, passages: Sequence[tuple[str, list[PlacedAnswer]]]
    ) -> Iterator[TokenFault]:
        if not passages:
            return
        placed = [one for _, answers in passages for one in answers]
        passage_of = row_of(np.array([len(answers) for _, answers in passages]))
        texts = [text for text, _ in passages]
        for n, kind, tokens in unreachable_answers(texts, passage_of, placed, self._limits):
            got = f"{shown(placed[n].answer.text)}, of {tokens} tokens"
            yield TokenFault(kind, placed[n].where, placed[n].question_id, got)


def unreachable_answers(
    texts: Sequence[str], passage_of: IntArray, placed: Sequence[PlacedAnswer], limits: TokenLimits
) -> Iterator[tuple[int, TokenKind, int]]:
    """Finds answers that a reader of tokens cannot learn or give.

    Args:
        texts: Passages of at least one token each.
        passage_of: Index of each answer's passage. Shape: (answers,)
        placed: The answers.
        limits: What they are measured with.

    Yields:
        The answer's index, what is wrong with it, and its length in tokens.
    """
    tokenizer = limits.tokenizer()
    passages = tokenizer.passages(texts)
    questions = tokenizer.questions([one.question for one in placed], limits.windows)
    runs, _ = locate_answers(passages, texts, passage_of, [(one.answer,) for one in placed])
    none = np.empty(0, np.int32)
    planned = plan_windows(
        passages.tokens.lengths[passage_of],
        questions.lengths,
        runs,
        AnswerTokens(none, none, none),
        config=limits.windows,
        layout=layout_of(limits.windows, tokenizer.identity),
    )
    held = np.bincount(planned.question[planned.start > 0], minlength=len(placed)) > 0
    tokens = np.where(runs.first >= 0, runs.last - runs.first + 1, 0)
    for number, (length, is_held) in enumerate(zip(tokens.tolist(), held.tolist(), strict=True)):
        if not length:
            yield number, "answer_without_token", length
        elif not is_held:
            yield number, "answer_beyond_windows", length
        if length > limits.max_answer_tokens:
            yield number, "answer_too_long", length
