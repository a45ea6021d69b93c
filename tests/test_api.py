"""What `Reader` takes. Oracle: its answers to the same questions as pairs."""

from typing import Any

import pandas as pd
import pytest

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.storage import TrainedReader

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = [
    ("Which river?", "The mill stands on the Isk."),
    ("Who built it?", "Two brothers built the bridge."),
]


@pytest.fixture
def reader(evaluated: TrainedReader) -> Reader:
    return Reader(evaluated)


def test_pairs_dicts_and_frames_are_the_same(reader: Reader) -> None:
    """With other columns beside, as data sets have them."""
    expected = reader.answer_all(PAIRS)
    for name in ("passage", "context"):
        dicts = [{"id": 5, "question": question, name: text} for question, text in PAIRS]
        assert reader.answer_all(dicts) == expected
        assert reader.answer_all(pd.DataFrame(dicts, index=[7, 7])) == expected
    assert reader.answer_all([list(pair) for pair in PAIRS]) == expected  # type: ignore[misc]
    assert reader.answer_all(pd.DataFrame({"question": [], "passage": []})) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ab", "row 3: got a value of type str;"),
        (None, "row 3: got a value of type NoneType;"),
        (("a", "b", "c"), "row 3: got a value of type tuple;"),
        ({"question": "a"}, "row 3: got a value of type dict with question;"),
        ({"question": "a", "passage": "b", "context": "c"}, "dict with question, passage, context"),
        ({}, "dict with nothing in it"),
        (("a", 5), "passage 3: got a value of type int, 5;"),
        ((b"a", "b"), "question 3: got a value of type bytes"),
        ((None, "b"), "question 3: got nothing;"),
        (("a", float("nan")), "passage 3: got nothing;"),
        (("a", pd.NA), "passage 3: got nothing;"),
        (("a", "b\ud800"), "passage 3: got half a character"),
    ],
)
def test_other_rows_are_refused_by_number_and_type(reader: Reader, row: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        reader.answer_all([*PAIRS, row])
    assert said in str(caught.value)


@pytest.mark.parametrize("asked", ["Which?", b"Which?", {"question": "a", "context": "b"}, 5])
def test_what_holds_no_rows(reader: Reader, asked: Any) -> None:
    with pytest.raises(InputError, match=f"got a value of type {type(asked).__name__};"):
        reader.answer_all(asked)


def test_a_folder_is_loaded() -> None:
    with pytest.raises(InputError, match=r"Load it: Reader\.load\('data/06_models/demo'\)"):
        Reader("data/06_models/demo")  # type: ignore[arg-type]
