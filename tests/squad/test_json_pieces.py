"""JSON files read piece by piece.

Oracle: the same file read whole. Content and errors, with their places, must be the same whatever
was done to the file and however its chunks fall.
"""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad import json_pieces
from roberta_squad_pipeline.squad.json_input import read_json
from roberta_squad_pipeline.squad.json_pieces import cut_json

ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)

texts = st.text(st.sampled_from('a"\\[]{}é😀\n,:')) | st.text(
    st.characters(codec="utf-8"), max_size=4
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts.filter("piece".__ne__), inner, max_size=4)
    ),
    max_leaves=20,
)
SQUAD = b"""{"version": "v2.0", "data": [
 {"title": "\\u00e9\\\\", "paragraphs": [{"context": "A \\"quoted\\" {brace", "qas": []},
  {"context": "\xc3\xa9]", "qas": [{"id": "1", "answers": [{"text": "x"}]}]}
 ]},
 {"paragraphs": [], "more": {"deep": [[{"a": [1, 2]}]]}}]}
"""


def read_whole(path: Path) -> Any:
    try:
        return read_json(path, ANYTHING, remedy="")
    except InputError as error:
        return str(error)


def read_in_pieces(path: Path, depth: int) -> Any:
    """Every piece read and put back where it was cut out."""

    def filled(value: Any, around: int) -> Any:
        if around == depth and isinstance(value, dict):
            number = value["piece"]
            (content,) = cut.pieces([number])
            return cut.validated_piece(number, content, ANYTHING, (), remedy="")
        if isinstance(value, list):
            return [filled(item, around + 1) for item in value]
        if isinstance(value, dict):
            return {key: filled(item, around + 1) for key, item in value.items()}
        return value

    try:
        cut = cut_json(path, depth)
        skeleton = cut.validated_skeleton(ANYTHING, remedy="")
        cut.check_syntax(range(len(cut.bounds)))
        return filled(skeleton, 0)
    except InputError as error:
        return str(error)


@given(values, st.integers(0, 4), st.integers(1, 9), st.booleans(), st.booleans())
def test_pieces_and_skeleton_are_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    value: Any,
    depth: int,
    chunk: int,
    ascii_only: bool,
    marked: bool,
) -> None:
    path = tmp_path_factory.mktemp("any") / "file.json"
    content = json.dumps(value, ensure_ascii=ascii_only, indent=chunk % 2 or None)
    path.write_bytes(b"\xef\xbb\xbf" * marked + content.encode())
    with mock.patch.object(json_pieces, "_CHUNK_BYTES", chunk):
        assert read_in_pieces(path, depth) == value


@given(
    st.integers(0, len(SQUAD) - 1),
    st.sampled_from(
        [b"", b'"', b"\\", b"[", b"]", b"{", b"}", b",", b"\n", b"\xff", b"\xc3", b"1"]
    ),
    st.sampled_from(["insert", "replace", "break off"]),
    st.sampled_from([1, 2, 7, 1 << 20]),
    st.sampled_from([0, 2, 4]),
)
@example(SQUAD.index(b",\n  {"), b"", "replace", 1 << 20, 4)
def test_faults_are_told_as_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory,
    at: int,
    put: bytes,
    how: str,
    chunk: int,
    depth: int,
) -> None:
    behind = {"insert": SQUAD[at:], "replace": SQUAD[at + 1 :], "break off": b""}[how]
    path = tmp_path_factory.mktemp("fault") / "file.json"
    path.write_bytes(SQUAD[:at] + put + behind)
    with mock.patch.object(json_pieces, "_CHUNK_BYTES", chunk):
        assert read_in_pieces(path, depth) == read_whole(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[] []", b'{"a": "\xc3', b'{"a": 1, "a": [2]}'])
def test_odd_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert read_in_pieces(path, 1) == read_whole(path)


def test_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        assert read_in_pieces(path, 1) == read_whole(path)
