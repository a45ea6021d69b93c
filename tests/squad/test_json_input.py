"""Faults of JSON files, each one message.

Oracle: JSON as RFC 8259 defines it; the messages' parts are checked, not their exact wording.
"""

from pathlib import Path

import pytest
from pydantic import FiniteFloat, PositiveInt, TypeAdapter

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.json_input import read_json, shown

TEXTS = TypeAdapter(dict[str, str])
NUMBERS = TypeAdapter(dict[str, FiniteFloat])
LISTS = TypeAdapter(dict[str, list[dict[str, int]]])


def fault_of(path: Path, schema: TypeAdapter[dict[str, str]]) -> InputError:
    with pytest.raises(InputError) as caught:
        read_json(path, schema, remedy="Do otherwise.")
    assert str(path) in caught.value.where
    assert caught.value.remedy.endswith(".")
    return caught.value


def test_content_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes('\ufeff{"z": "ä", "a": "\\ud83d\\ude00"}'.encode())
    assert list(read_json(path, TEXTS, remedy="").items()) == [("z", "ä"), ("a", "😀")]


@pytest.mark.parametrize(
    ("content", "place", "got"),
    [
        (b"", "line 1, column 0", "JSON that breaks off"),
        (b'{"a":\n "b', "line 2, column 3", "JSON that breaks off"),
        (b'{"a": "b"', "line 1, column 9", "JSON that breaks off"),
        (b"id,text\n", "line 1, column 1", "text that is not JSON"),
        (b'{"a": "b"}\n{"c": "d"}\n', "line 2, column 1", "trailing characters"),
        (b'{"a": "\\ud800"}', "line 1, column 14", "escape that is not a character"),
        (b'{"a": "\\udc00 b"}', "line 1", "escape that is not a character"),
        (b'{"a": "\xe9"}', "byte 7", "not UTF-8"),
        (b"[" * 10_000, "line 1", "recursion limit"),
        (b"[]", "top level", "a list"),
        (b"null", "top level", "null"),
        (b'{"a b": {}}', '["a b"]', "an object"),
        (b'{"a": "b", "c": NaN}', "c", "NaN"),
        (b'{"a": "b",\n "a": "c"}', "line 2, column 6", 'the key "a" for a second time'),
    ],
)
def test_fault_has_place_and_reason(tmp_path: Path, content: bytes, place: str, got: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    fault = fault_of(path, TEXTS)
    assert fault.where.startswith(f"{path}: {place}")
    assert got in fault.got


@pytest.mark.parametrize(
    ("content", "expected", "remedy"),
    [
        (b"id,text", "one JSON document", "right file"),
        (b'{"a": "b"', "one JSON document", "incomplete"),
        (b'{"a": "\xe9"}', "UTF-8 text", "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogates", "Remove the escape"),
        (b'{"a": "\\ud800\\u0041"}', "hexadecimal", "Remove the escape"),
        (b'{"a": "b", "a": "c"}', "each key once", "Remove one of the two"),
    ],
)
def test_fault_has_rule_and_remedy(
    tmp_path: Path, content: bytes, expected: str, remedy: str
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    fault = fault_of(path, TEXTS)
    assert expected in fault.expected
    assert remedy in fault.remedy


def test_place_is_spelled_in_its_own_letters(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"naïve café": 1}', encoding="utf-8")
    assert fault_of(path, TEXTS).where == f'{path}: ["naïve café"]'


def test_rule_of_a_schema_that_has_no_wording_here(tmp_path: Path) -> None:
    """Oracle: pydantic's own message."""
    path = tmp_path / "file.json"
    path.write_text('{"a": 0}')
    positive = TypeAdapter(dict[str, PositiveInt])
    with pytest.raises(InputError, match="expected Input should be greater than 0"):
        read_json(path, positive, remedy="")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ('{"a": "1"}', '"1"'),
        ('{"a": true}', "true"),
        ('{"a": null}', "null"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "Infinity"),
    ],
)
def test_numbers_are_finite_numbers(tmp_path: Path, content: str, got: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    assert read_error(path) == got


def read_error(path: Path) -> str:
    with pytest.raises(InputError, match=r"expected (a finite|a) number") as caught:
        read_json(path, NUMBERS, remedy="")
    return caught.value.got


def test_path_goes_through_lists(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"a": [{}, {"b": 1, "c d": 1.5}]}')
    with pytest.raises(InputError) as caught:
        read_json(path, LISTS, remedy="")
    assert caught.value.where == f'{path}: a[1]["c d"]'
    assert caught.value.got == "1.5"
    assert caught.value.expected == "an integer"


def test_long_values_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"a": "' + "x" * 10_000 + '"}')
    assert len(read_error(path)) < 100


def test_quotes_obey_no_terminal() -> None:
    assert shown('\x1b[2J é 😀\u202e\x85"') == '"\\u001b[2J é 😀\\u202e\\u0085\\""'
    assert shown("\ud800") == '"\\ud800"'


def test_unreadable_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault_of(tmp_path / "none.json", TEXTS).got == "no such file"
    assert fault_of(tmp_path, TEXTS).got == "a folder"

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in fault_of(tmp_path / "closed.json", TEXTS).got
