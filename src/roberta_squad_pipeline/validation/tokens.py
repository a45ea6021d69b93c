"""Answers measured in tokens; most can be told to be short without being tokenised."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
import pyarrow as pa

from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokens import EncodedPassages
from roberta_squad_pipeline.features.windows import AnswerTokens, plan_windows
from roberta_squad_pipeline.squad.dataset import (
    Answer,
    Passage,
    Question,
    SquadDataset,
)
from roberta_squad_pipeline.squad.json_input import shown

TokenKind = Literal["no_token", "answer_without_token", "answer_too_long", "answer_beyond_windows"]

_ENDLESS = 10**9
"""More tokens than a passage has."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What passages and answers are measured with."""

    encode_passages: Callable[[Sequence[str]], EncodedPassages]
    """Texts to tokens."""
    build_features: Callable[[SquadDataset, WindowConfig], pa.RecordBatch]
    """Features of some questions with these windows."""
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
    answer: Answer


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
        lengths = self._limits.encode_passages(texts).tokens.lengths
        return {text for text, tokens in zip(texts, lengths.tolist(), strict=True) if not tokens}

    def _unreachable(
        self, passages: Sequence[tuple[str, list[PlacedAnswer]]]
    ) -> Iterator[TokenFault]:
        if not passages:
            return
        placed = [one for _, answers in passages for one in answers]
        number = count()
        dataset = SquadDataset(
            tuple(
                Passage(
                    text,
                    "",
                    tuple(Question(str(next(number)), a.question, (a.answer,)) for a in answers),
                )
                for text, answers in passages
            ),
            misaligned=0,
        )
        for n, kind, tokens in unreachable_answers(dataset, self._limits):
            got = f"{shown(placed[n].answer.text)}, of {tokens} tokens"
            yield TokenFault(kind, placed[n].where, placed[n].question_id, got)


def unreachable_answers(
    dataset: SquadDataset, limits: TokenLimits
) -> Iterator[tuple[int, TokenKind, int]]:
    """Finds answers that a reader of tokens cannot learn or give.

    Args:
        dataset: Passages of at least one token each; the questions' ids are their numbers, and
            each has one answer.
        limits: What they are measured with.

    Yields:
        The question's number, what is wrong with its answer, and the answer's length in tokens.
    """
    # Each passage is one window, which tells where in it the answer is.
    endless = limits.windows.model_copy(update={"max_tokens": _ENDLESS})
    whole = Features.from_batch(limits.build_features(dataset, endless))
    found = whole.windows.start > 0
    first = np.where(found, whole.windows.start - whole.passage_position, -1)
    last = np.where(found, whole.windows.end - whole.passage_position, -1)
    none = np.full_like(first, -1)
    planned = plan_windows(
        whole.passages.tokens.lengths[whole.question_passage],
        whole.question_tokens.lengths,
        AnswerTokens(first, last),
        AnswerTokens(none, none),
        config=limits.windows,
        layout=whole.meta.layout,
    )
    held = np.bincount(planned.question[planned.start > 0], minlength=len(first)) > 0
    tokens = np.where(found, last - first + 1, 0)
    numbers = map(int, whole.question_ids.to_pylist())
    for number, length, is_held in zip(numbers, tokens.tolist(), held.tolist(), strict=True):
        if not length:
            yield number, "answer_without_token", length
        elif not is_held:
            yield number, "answer_beyond_windows", length
        if length > limits.max_answer_tokens:
            yield number, "answer_too_long", length
