"""Text as UTF-8, whatever it was written or packed as.

Oracle: Python's own codecs and gzip.
"""

import gzip
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.text_input import read_utf8, utf8_text

TEXT = '{"a": "Öl 😀"}\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(tmp_path: Path, encoding: str, packed: bool) -> None:
    content = TEXT.encode(encoding)
    path = tmp_path / "file.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read_utf8(path).decode() == TEXT
    with utf8_text(path) as text:
        assert text.marked == (encoding == "utf-8-sig")


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(TEXT.encode(encoding))
    with pytest.raises(InputError, match=r"UTF-32.*Save the file as UTF-8"):
        read_utf8(path)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"7"])
def test_files_may_be_shorter_than_any_mark(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert read_utf8(path) == content
