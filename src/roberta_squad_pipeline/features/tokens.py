"""Tokens of many texts, and the identity of their tokenizer."""

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
    """Contains all rows; there may be other values between them. Shape: (values,)"""
    begins: NDArray[np.int64]
    """Index in `values` at which each row begins. Shape: (rows,)"""
    lengths: IntArray
    """Shape: (rows,)"""

    @classmethod
    def of_lengths(cls, values: NDArray[Any], lengths: NDArray[Any] | Sequence[int]) -> Self:
        """Makes rows that follow each other and fill `values`.

        Args:
            values: Shape: (values of all rows,)
            lengths: Shape: (rows,)
        """
        sizes = np.asarray(lengths, np.int32)
        ends = np.cumsum(sizes, dtype=np.int64)
        return cls(values, ends - sizes, sizes)

    def cut(self, most: int) -> Self:
        """Copies at most the first `most` values of each row into a new array."""
        lengths = np.minimum(self.lengths, most)
        at = Ragged(self.values, self.begins, lengths).places()
        return self.of_lengths(self.values[at], lengths)

    def places(self) -> NDArray[np.int64]:
        """Indices in `values` of all rows' values. Shape: (values of all rows,)."""
        before = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        places: NDArray[np.int64] = np.repeat(self.begins - before, self.lengths)
        return places + np.arange(len(places))

    def of_rows(self, rows: NDArray[np.int64]) -> Self:
        """Some of the rows, with the same `values`.

        Args:
            rows: Which of them, in any order. Shape: (rows of the result,)
        """
        return type(self)(self.values, self.begins[rows], self.lengths[rows])

    def __getitem__(self, row: int) -> NDArray[Any]:
        """A view of row `row`."""
        begin = self.begins[row]
        return self.values[begin : begin + self.lengths[row]]


@dataclass(frozen=True, slots=True)
class EncodedPassages:
    """Tokens of many passages with their characters; each row is a passage."""

    tokens: Ragged
    """Token ids, without special tokens."""
    char_start: Ragged
    """Index of each token's first character in its passage."""
    char_end: Ragged
    """Index after each token's last character."""


class SpecialTokens(StrictModel):
    """Ids of the special tokens of a window."""

    cls: int
    sep: int
    pad: int
    pair_separators: int = Field(ge=1, le=2)
    """Number of `sep` tokens that the tokenizer itself puts between the two texts of a pair: two in
    RoBERTa's family, otherwise one."""


class TokenizerIdentity(StrictModel):
    """Identifies a tokenizer; token ids have no meaning without theirs."""

    encoder: str
    """The folder or hub id that it was loaded from."""
    sha256: str
    """Hash of its serialised form."""
    entries: int
    """Size of its vocabulary; all token ids are smaller."""
    special_tokens: SpecialTokens


def row_of(rows_per_parent: NDArray[Any]) -> IntArray:
    """Computes the index of each row's parent; the rows of a parent follow each other.

    Args:
        rows_per_parent: Shape: (parents,)

    Returns:
        Shape: (rows,)
    """
    return np.repeat(np.arange(len(rows_per_parent), dtype=np.int32), rows_per_parent)
