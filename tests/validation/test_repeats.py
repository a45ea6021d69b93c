"""Repeated items. Oracle: a dictionary of all items that came before."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.validation.repeats import HASH_CODE, also_in, repeats

items = st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1))


@given(items)
def test_repeats_are_found_in_order(values: list[int]) -> None:
    first: dict[int, int] = {}
    expected = [
        [n, first[value]] for n, value in enumerate(values) if first.setdefault(value, n) != n
    ]
    assert repeats(array(HASH_CODE, values)).tolist() == expected


@given(items, items)
def test_common_items_are_found_in_order(values: list[int], others: list[int]) -> None:
    expected = [n for n, value in enumerate(values) if value in others]
    assert also_in(array(HASH_CODE, values), array(HASH_CODE, others)).tolist() == expected
