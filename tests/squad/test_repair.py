"""Answers that do not stand where they claim to be.

Oracle: answers whose places are known, counted in another unit by Python's own encodings and
replacements.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.squad.dataset import read_squad
from roberta_squad_pipeline.squad.repair import UNITS, find_answer, units_of

Json = dict[str, Any]

COUNTED: dict[str, Callable[[str], int]] = {
    "start_in_utf16_units": lambda before: len(before.encode("utf-16-le")) // 2,
    "start_in_bytes": lambda before: len(before.encode()),
    "start_without_carriage_returns": lambda before: len(before.replace("\r\n", "\n")),
    "start_with_carriage_returns": lambda before: len(before.replace("\n", "\r\n")),
    "start_from_1": lambda before: len(before) + 1,
    "start_without_byte_order_mark": lambda before: len(before.replace("\ufeff", "")),
}
LINES = {
    "start_in_utf16_units": "\U0001f6a2 Dock {} opens at 5.",
    "start_in_bytes": "Das Büro {} öffnet um 5.",
    "start_without_carriage_returns": "Dock {}\r\nopens at 5.",
    "start_with_carriage_returns": "Dock {}\nopens at 5.",
    "start_from_1": "Dock {} opens at 5.",
    "start_without_byte_order_mark": "\ufeffDock {} opens at 5.",
}
"""Of which each holds what makes the unit differ from characters."""


def write(folder: Path, *paragraphs: Json) -> Path:
    path = folder / "file.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return path


def docks(unit: str, article: int, *, fault: int = 0) -> tuple[Json, list[int]]:
    """A passage in which "5" stands twelve times and is asked for each time; and its places."""
    context = " ".join(LINES[unit].format(letter) for letter in "ABCDEFGHIJKL")
    places = [n for n, character in enumerate(context) if character == "5"]
    qas = [
        {
            "id": f"{article}.{n}",
            "question": "?",
            "answers": [{"text": "5", "answer_start": COUNTED[unit](context[:place])}],
        }
        for n, place in enumerate(places)
    ]
    qas[-1]["answers"][0]["answer_start"] += fault
    return {"context": context, "qas": qas}, places


def starts(path: Path) -> list[list[int]]:
    dataset = read_squad(path, on_misaligned="repair")
    return [[q.answers[0].start for q in passage.questions] for passage in dataset.passages]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_that_explains_the_file_is_undone(tmp_path: Path, unit: str) -> None:
    """Many of the places are nearer to another "5" than to their own."""
    (first, places), (second, _) = docks(unit, 0), docks(unit, 1)
    path = write(tmp_path, first, second)
    assert units_of(path).of_file == unit
    assert starts(path) == [places, places]
    # All others can be counted in anything.
    plain = {"context": "5 docks.", "qas": []}
    assert units_of(write(tmp_path, plain, first)).of_file == unit


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_that_explains_a_passage_is_undone_there(tmp_path: Path, unit: str) -> None:
    (first, places), (spoilt, _) = docks(unit, 0), docks(unit, 1, fault=500)
    right = {"context": "A é\r\n\ufeff\U0001f6a2 5\n6", "qas": []}
    right["qas"] = [
        {"id": text, "question": "?"}
        | {"answers": [{"text": text, "answer_start": right["context"].index(text)}]}
        for text in "56"
    ]
    path = write(tmp_path, right, first, spoilt)
    assert units_of(path).of_file is None
    assert starts(path)[:2] == [[8, 10], places]
    assert starts(path)[2][-1] == places[-1]


@given(st.text("a\u00e9\r\n\U0001f6a2\ufeff", min_size=1, max_size=9), st.data())
def test_aligned_files_stay(
    tmp_path_factory: pytest.TempPathFactory, context: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(context) - 1))
    answer = {"text": context[start], "answer_start": start}
    blank = not context.strip() or not context[start].strip()
    qas = [] if blank else [{"id": "q", "question": "?", "answers": [answer]}]
    path = write(
        tmp_path_factory.mktemp("aligned"),
        {"context": f"x{context}", "qas": []},
        {"context": context if context.strip() else "x", "qas": qas},
        {
            "context": "x",
            "qas": [{"id": "x", "question": "?", "answers": [{"text": "x", "answer_start": 0}]}],
        },
    )
    assert units_of(path).of_file is None
    dataset = read_squad(path, on_misaligned="repair")
    assert all(passage.repaired == passage.misaligned == 0 for passage in dataset.passages)


@pytest.mark.parametrize(
    ("text", "start", "kind", "found"),
    [
        ("Wend", 4, None, (4, "Wend")),
        ("rises", 0, "misaligned_answer", (9, "rises")),
        ("Wend", 40, "ambiguous_answer", (22, "Wend")),
        ("THE  wend", 30, "answer_spelled_otherwise", (18, "The Wend")),
        ("cafe\u0301", 0, "answer_spelled_otherwise", (27, "caf\u00e9")),
        ("Avon", 4, "answer_not_in_passage", (None, "Avon")),
    ],
)
def test_how_an_answer_is_found(
    text: str, start: int, kind: str | None, found: tuple[int | None, str]
) -> None:
    context = "The Wend rises.\n  The Wend caf\u00e9"
    one = find_answer({"text": text, "answer_start": start}, context, None)
    assert (one.kind, (one.start, one.text)) == (kind, found)
