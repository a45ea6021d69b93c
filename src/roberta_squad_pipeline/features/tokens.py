"""Tokens of many texts, and the tokenizer that they mean something to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.common.strict import StrictModel


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of unequal length."""

    values: NDArray[Any]
    """Holds all rows, but other things may lie between them. Shape: (values,)"""
    begins: NDArray[np.int64]
    """Where in `values` each row begins. Shape: (rows,)"""
    lengths: IntArray
    """Shape: (rows,)"""

    @classmethod
    def of_lengths(cls, values: NDArray[Any], lengths: NDArray[Any] | Sequence[int]) -> Self:
        """Rows that lie one after the other and fill `values`.

        Args:
            values: Shape: (values of all rows,)
            lengths: Shape: (rows,)
        """
        sizes = np.asarray(lengths, np.int32)
        ends = np.cumsum(sizes, dtype=np.int64)
        return cls(values, ends - sizes, sizes)

    def cut(self, most: int) -> Self:
        """The first values of each row, `most` at most; the rows fill an array of their own."""
        lengths = np.minimum(self.lengths, most)
        kept = self.of_lengths(self.values, lengths)
        at = np.arange(lengths.sum()) + np.repeat(self.begins - kept.begins, lengths)
        return self.of_lengths(self.values[at], lengths)

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Row `row`, as a view."""
        begin = self.begins[row]
        return self.values[begin : begin + self.lengths[row]]


@dataclass(frozen=True, slots=True)
class EncodedPassages:
    """Tokens of many passages with the characters they came from; a row is a passage."""

    tokens: Ragged
    """Token ids, no special tokens among them."""
    char_start: Ragged
    """First character of each token in its passage."""
    char_end: Ragged
    """One past each token's last character."""


class SpecialTokens(StrictModel):
    """Token ids that frame a window."""

    cls: int
    sep: int
    pad: int
    pair_separators: int = Field(ge=1, le=2)
    """How many `sep` the tokenizer itself puts between the two texts of a pair: two in RoBERTa's
    family, else one."""


class TokenizerIdentity(StrictModel):
    """Tells tokenizers apart, since token ids mean nothing without theirs."""

    encoder: str
    """Folder or hub id that it came from."""
    sha256: str
    """Of its serialised form."""
    entries: int
    """Size of its vocabulary: no token id reaches it."""
    special_tokens: SpecialTokens


def row_of(rows_per_parent: NDArray[Any]) -> IntArray:
    """The index of each row's parent, where rows lie parent by parent.

    Args:
        rows_per_parent: Shape: (parents,)

    Returns:
        Shape: (rows,)
    """
    return np.repeat(np.arange(len(rows_per_parent), dtype=np.int32), rows_per_parent)
