"""An encoder's own tokenizer, applied to whole lists of texts."""

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roberta_squad_pipeline.common.arrays import BoolArray, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order
from roberta_squad_pipeline.features.tokens import (
    EncodedPassages,
    Ragged,
    SpecialTokens,
    TokenizerIdentity,
)
from roberta_squad_pipeline.features.words import TokenRows, WordMemory, tokens_end_at_spaces

_QUESTION_PREFIX: dict[Order, str] = {"passage_first": " Q: ", "question_first": ""}
"""What comes before the question; it is a literal part of the published series' form."""

_MANY_TEXTS = 64
_TEXTS_AT_ONCE = 2048
_SPACE_PIECE = "\u2581"

_LAST_WHITE_SPACE = 0x3000
_WHITE_SPACE = np.array([chr(point).isspace() for point in range(_LAST_WHITE_SPACE + 2)])
"""For every code point up to the last that is white space, and one entry for all the others."""
_JAMO_AFTER_THE_FIRST = (range(0x1160, 0x1200), range(0xD7B0, 0xD800))
"""Vowels and final consonants of Korean syllables in Unicode's decomposed form."""


class PassageTokenizer:
    """An encoder's own tokenizer, for passages with their characters and for questions.

    Args:
        pretrained: transformers' tokenizer.
        encoder: The folder or hub id that it was loaded from.
    """

    def __init__(self, pretrained: PreTrainedTokenizerFast, encoder: str) -> None:
        self.pretrained = pretrained
        self._encoder = encoder

    @classmethod
    def load(cls, encoder: str, *, called: str | None = None) -> Self:
        """Loads the tokenizer that belongs to an encoder.

        Args:
            encoder: A local folder or a hub id.
            called: The encoder's name in features and messages; None for `encoder`.

        Raises:
            InputError: There is no tokenizer, or it does not record characters.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise encoder_error(encoder, "a tokenizer", error) from error
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise InputError(
                where=f"model.encoder={encoder}",
                got=f"the tokenizer {type(tokenizer).__name__}, which has no character offsets",
                expected="a fast tokenizer (tokenizer.json)",
                remedy="Use another encoder, or convert its tokenizer with transformers.",
            )
        if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
            # transformers makes such a tokenizer if it finds nothing but config.json.
            nothing = ValueError("it has only special tokens")
            raise encoder_error(encoder, "a tokenizer", nothing)
        return cls(tokenizer, called or encoder)

    @cached_property
    def identity(self) -> TokenizerIdentity:
        """What identifies this tokenizer, and the special tokens of a window.

        RoBERTa's are ``<s>`` and ``</s>``, BERT's [CLS] and [SEP].

        Raises:
            InputError: The tokenizer lacks one of these tokens.
        """
        ids: dict[str, Any] = {
            name: getattr(self.pretrained, f"{name}_token_id") for name in ("cls", "sep", "pad")
        }
        missing = [name for name, token_id in ids.items() if token_id is None]
        if missing:
            raise InputError(
                where=f"model.encoder={self._encoder}",
                got=f"a tokenizer without a {' and '.join(missing)} token",
                expected="an encoder's tokenizer, with cls, sep and pad tokens",
                remedy="Use an encoder such as RoBERTa or BERT, not a decoder.",
            )
        # One token at either end; a tokenizer without its own form for pairs adds none.
        between: int = self.pretrained.num_special_tokens_to_add(pair=True) - 2
        return TokenizerIdentity(
            encoder=self._encoder,
            sha256=sha256(self._backend.to_str().encode()).hexdigest(),
            entries=len(self.pretrained),
            special_tokens=SpecialTokens(**ids, pair_separators=max(between, 1)),
        )

    def passages(self, texts: Sequence[str]) -> EncodedPassages:
        """Tokenises passages and records which characters each token comes from.

        If byte-level BPE splits a character, all of it belongs to each of its tokens. White space
        around a word belongs to no token, whatever the tokenizer says, so a token of white space
        alone has no characters. Marks that a tokenizer strips, or composes with the letter before
        them, belong to that letter's token.

        Raises:
            InputError: The tokenizer's character offsets jump backwards in the text.
        """
        found = self._encode(texts)
        tokens, span = found.tokens, found.spans
        self._check_order(span, tokens)
        # SentencePiece adds a space before a text's first word, which is not one of its characters.
        piece = self._backend.token_to_id(_SPACE_PIECE)
        put_there = tokens.values == (-1 if piece is None else piece)
        char_end = np.where(put_there, span[:, 0], span[:, 1])
        char_start, char_end = _own_characters(texts, tokens.lengths, span[:, 0], char_end)
        return EncodedPassages(
            self._as_text(tokens),
            Ragged.of_lengths(char_start, tokens.lengths),
            Ragged.of_lengths(char_end, tokens.lengths),
        )

    def questions(self, texts: Sequence[str], order: Order) -> Ragged:
        """Tokenises whole questions.

        If the passage comes first, each gets the literal ``Q:`` of the published series.
        """
        prefixed = [_QUESTION_PREFIX[order] + text.strip() for text in texts]
        return self._as_text(self._encode(prefixed).tokens)

    @cached_property
    def _backend(self) -> Tokenizer:
        # A copy, since truncation and padding are state that others may rely on.
        backend = Tokenizer.from_str(self.pretrained.backend_tokenizer.to_str())
        backend.no_truncation()
        backend.no_padding()
        # "</s>" in a passage is text, and must not end the passage.
        backend.encode_special_tokens = True
        return backend

    @cached_property
    def _words(self) -> WordMemory | None:
        return WordMemory(self._backend) if tokens_end_at_spaces(self._backend) else None

    def _encode(self, texts: Sequence[str]) -> TokenRows:
        # What a server is asked need not be remembered.
        if len(texts) >= _MANY_TEXTS and self._words is not None:
            return self._words.encode(texts)
        return TokenRows.of_encodings(
            chain.from_iterable(
                self._backend.encode_batch(
                    texts[first : first + _TEXTS_AT_ONCE], add_special_tokens=False
                )
                for first in range(0, len(texts), _TEXTS_AT_ONCE)
            )
        )

    def _as_text(self, tokens: Ragged) -> Ragged:
        """Replaces special tokens that a text spells by the unknown token.

        A Unigram model finds them among its pieces even if it is told to treat them as text.
        """
        if self.pretrained.unk_token_id is None:
            return tokens
        special = np.isin(tokens.values, self.pretrained.all_special_ids)
        values = np.where(special, np.int32(self.pretrained.unk_token_id), tokens.values)
        return Ragged.of_lengths(values, tokens.lengths)

    def _check_order(self, span: np.ndarray[Any, Any], tokens: Ragged) -> None:
        backward = np.diff(span, axis=0).min(axis=1) < 0
        # Each passage starts at 0 again.
        passage = np.repeat(np.arange(len(tokens.lengths)), tokens.lengths)
        if (backward & (passage[1:] == passage[:-1])).any():
            raise InputError(
                where=f"model.encoder={self._encoder}",
                got="a tokenizer whose character offsets jump backwards",
                expected="tokens in the order of the text",
                remedy="Use another encoder.",
            )


def encoder_error(encoder: str, missing: str, error: Exception) -> InputError:
    """Describes what was given as an encoder, and what could not be loaded from it."""
    folder = Path(encoder)
    if folder.is_dir():
        files = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        got = f"a folder that holds {files}, without {missing} that loads"
    elif folder.exists():
        got = "a file in place of a folder"
    else:
        got = "no such folder, and nothing with that name could be loaded from the hub"
    reason = str(error).strip().splitlines()[0]
    return InputError(
        where=f"model.encoder={encoder}",
        got=f"{got} ({reason})",
        expected="a folder written by save_pretrained (config.json, model.safetensors, "
        "tokenizer.json), or the id of a model on the Hugging Face hub",
        remedy="Check the path; for a hub id, check the spelling and the network.",
    )


def _own_characters(
    texts: Sequence[str], tokens: IntArray, char_start: IntArray, char_end: IntArray
) -> tuple[IntArray, IntArray]:
    """Removes white space from both ends of every token's characters, and adds marks after them.

    Args:
        texts: The passages.
        tokens: Number of tokens of each passage. Shape: (passages,)
        char_start: Shape: (tokens of all passages,)
        char_end: Shape: (tokens of all passages,)

    Returns:
        New starts and ends; a token of white space alone starts at its end.
    """
    # A gap of one after each text, so that its last token gets no marks of the next text.
    line = "\0".join(texts) + "\0"
    code_points = np.frombuffer(line.encode("utf-32-le"), np.uint32)
    space = _WHITE_SPACE[np.minimum(code_points, len(_WHITE_SPACE) - 1)]
    lengths = [len(text) + 1 for text in texts]
    base = np.repeat(np.cumsum([0, *lengths[:-1]]), tokens) if texts else 0
    start, end = base + char_start, base + char_end
    at = np.flatnonzero(space[start] & (start < end))
    while len(at):
        start[at] += 1
        at = at[space[start[at]] & (start[at] < end[at])]
    at = np.flatnonzero(space[end - 1] & (start < end))
    while len(at):
        end[at] -= 1
        at = at[space[end[at] - 1] & (start[at] < end[at])]
    left_over = _left_over_marks(line, space, start, end)
    at = np.flatnonzero(left_over[end] & (start < end))
    while len(at):
        end[at] += 1
        at = at[left_over[end[at]]]
    return (start - base).astype(np.int32), (end - base).astype(np.int32)


def _left_over_marks(line: str, space: BoolArray, start: IntArray, end: IntArray) -> BoolArray:
    """Which characters of a line belong to no token and modify the letter before them.

    Shape: (characters,)
    """
    begun = np.bincount(start, minlength=len(line)) - np.bincount(end, minlength=len(line))
    left_over: BoolArray = (np.cumsum(begun) == 0) & ~space
    # Few characters belong to no token; only these have to be looked up.
    at = np.flatnonzero(left_over)
    left_over[at] = [_goes_on(line[character]) for character in at.tolist()]
    return left_over


def _goes_on(character: str) -> bool:
    jamo = any(ord(character) in block for block in _JAMO_AFTER_THE_FIRST)
    return jamo or unicodedata.category(character).startswith("M")
