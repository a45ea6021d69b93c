"""Tokens of texts out of the tokens of their words, each of which is tokenised once.

tokenizers remembers words, too, which spares their merges. But it still finds where each begins,
and makes an object of each of its tokens.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from threading import Lock
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, normalizers, pre_tokenizers

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.features.tokens import Ragged

_BOUNDARY = re.compile(r" (?=\S)")
_WHITE_SPACE = re.compile(r"\s")
_FIRST = "\n"
"""Marks a text's first word, which has no space before it; no other word begins so."""
_WORDS_OF_A_LINE = 256
_MOST_WORDS = 100_000
"""After so many, which take 30 MB, all are forgotten; 10,000 are learnt in 30 milliseconds."""


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Tokens of many texts or words with their characters; each row is one of them."""

    tokens: Ragged
    """Token ids."""
    spans: IntArray
    """First character of each token, and the one after its last. Shape: (tokens, 2)"""

    @classmethod
    def of_encodings(cls, encodings: Iterable[Encoding]) -> Self:
        """Copies what tokenizers has found; each encoding is a row."""
        ids, spans = [np.empty(0, np.int32)], [np.empty((0, 2), np.int32)]
        for encoding in encodings:
            ids.append(np.array(encoding.ids, np.int32))
            spans.append(np.array(encoding.offsets, np.int32).reshape(-1, 2))
        tokens = Ragged.of_lengths(np.concatenate(ids), [len(row) for row in ids[1:]])
        return cls(tokens, np.concatenate(spans))


def tokens_end_at_spaces(backend: Tokenizer) -> bool:
    """Whether a text's tokens are those of its words, each with the one space before it.

    It is so with GPT-2's pattern for byte-level BPE, which is RoBERTa's, and with BERT's words.
    """
    if not all(token.special for token in backend.get_added_tokens_decoder().values()):
        return False
    words = backend.pre_tokenizer
    if isinstance(words, pre_tokenizers.BertPreTokenizer):
        return isinstance(backend.normalizer, normalizers.BertNormalizer)
    return (
        isinstance(words, pre_tokenizers.ByteLevel)
        and words.use_regex
        and not words.add_prefix_space
        and backend.normalizer is None
        and not getattr(backend.model, "dropout", None)
    )


class WordMemory:
    """The tokens of all words that were met. Several threads may use it at once.

    Args:
        backend: A tokenizer of which `tokens_end_at_spaces` holds.
    """

    def __init__(self, backend: Tokenizer) -> None:
        self._backend = backend
        self._lock = Lock()
        self._forget()

    def encode(self, texts: Sequence[str]) -> TokenRows:
        """Tokenises texts without special tokens, as the tokenizer itself does."""
        if not texts:
            return TokenRows.of_encodings([])
        split = [_BOUNDARY.split(text) for text in texts]
        for of_text in split:
            of_text[0] = _FIRST + of_text[0]
        words = list(chain.from_iterable(split))
        known, row = self._find(words)
        words_of_text = np.array([len(of_text) for of_text in split], np.int64)
        first = np.cumsum(words_of_text) - words_of_text
        # The space before a word is one of its characters.
        characters = np.fromiter(map(len, words), np.int64, len(words)) + 1
        characters[first] -= 2
        begin = np.cumsum(characters) - characters
        begin -= np.repeat(begin[first], words_of_text)
        found = known.tokens.of_rows(row)
        at = found.places()
        return TokenRows(
            Ragged.of_lengths(found.values[at], np.add.reduceat(found.lengths, first)),
            known.spans[at] + np.repeat(begin.astype(np.int32), found.lengths)[:, None],
        )

    def _find(self, words: Sequence[str]) -> tuple[TokenRows, NDArray[np.int64]]:
        """The tokens of all known words, and the row of each of these. Shape: (words,)."""
        with self._lock:
            new = [word for word in dict.fromkeys(words) if word not in self._row_of]
            if len(self._row_of) + len(new) > _MOST_WORDS:
                self._forget()
                new = list(dict.fromkeys(words))
            if new:
                self._learn(new)
            return self._known, np.fromiter(
                map(self._row_of.__getitem__, words), np.int64, len(words)
            )

    def _forget(self) -> None:
        self._row_of: dict[str, int] = {}
        self._known = TokenRows.of_encodings([])

    def _learn(self, new: Sequence[str]) -> None:
        # White space at the end of one word would be taken together with the space of the next.
        alone = [word for word in new if _WHITE_SPACE.search(word)]
        joined = [word for word in new if not _WHITE_SPACE.search(word)]
        tables = [
            self._known,
            self._tokens_of_joined([f" {word}" for word in joined]),
            self._encode([word[1:] if word[0] == _FIRST else f" {word}" for word in alone]),
        ]
        self._known = TokenRows(
            Ragged.of_lengths(
                np.concatenate([table.tokens.values for table in tables]),
                np.concatenate([table.tokens.lengths for table in tables]),
            ),
            np.concatenate([table.spans for table in tables]),
        )
        self._row_of.update(zip([*joined, *alone], count(len(self._row_of)), strict=False))

    def _tokens_of_joined(self, words: Sequence[str]) -> TokenRows:
        """Tokenises words many at a time, since each text costs as much as ten of them."""
        lines = [
            "".join(words[at : at + _WORDS_OF_A_LINE])
            for at in range(0, len(words), _WORDS_OF_A_LINE)
        ]
        found = self._encode(lines)
        # The lines' characters, numbered from line to line.
        begin = np.cumsum([0, *map(len, words)])
        begin_of_line = np.repeat(begin[:-1:_WORDS_OF_A_LINE], found.tokens.lengths)
        word = np.searchsorted(begin, begin_of_line + found.spans[:, 0], side="right") - 1
        return TokenRows(
            Ragged.of_lengths(found.tokens.values, np.bincount(word, minlength=len(words))),
            found.spans + (begin_of_line - begin[word]).astype(np.int32)[:, None],
        )

    def _encode(self, texts: Sequence[str]) -> TokenRows:
        return TokenRows.of_encodings(self._backend.encode_batch(texts, add_special_tokens=False))
