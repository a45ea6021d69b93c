"""Repeated texts, found by their hashes: eight bytes a text, however long it is.

That any two of six million different texts have the same hash is a chance of one in a million.
"""

from array import array
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = "array[int]"
HASH_CODE = "q"
"""Type code of an array of what `hash` returns."""


def repeats(hashes: Hashes) -> NDArray[np.int64]:
    """Finds the items that equal an earlier one.

    Args:
        hashes: One an item.

    Returns:
        Item and first equal item, in the order of the items. Shape: (repeats, 2)
    """
    values = np.array(hashes, np.int64)
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    items = np.flatnonzero(first[which] != np.arange(len(values)))
    return np.stack([items, first[which[items]]], axis=1)


def also_in(hashes: Hashes, others: Hashes) -> NDArray[np.int64]:
    """Indices of the items that equal an item of another list. Shape: (found,)."""
    return np.flatnonzero(np.isin(np.array(hashes, np.int64), np.array(others, np.int64)))
