"""Files from users as UTF-8, whatever their encoding and packing."""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from roberta_squad_pipeline.common.errors import InputError

_GZIP = b"\x1f\x8b"
_OTHER_FORMS = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "a file packed by bzip2",
    b"\xfd7zXZ": "a file packed by xz",
    b"\x28\xb5\x2f\xfd": "a file packed by zstd",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be read.

    Args:
        stream: In UTF-8, without its byte order mark.
        marked: Whether it had a byte order mark in UTF-8.
    """

    stream: io.BufferedReader
    marked: bool


@contextmanager
def utf8_text(path: Path) -> Iterator[Text]:
    """Opens a text file: UTF-8, or UTF-16, each also packed by gzip.

    UTF-16 is read into memory at once; all else is read from the disk step by step.

    Raises:
        InputError: The file cannot be read or has another form. This may come while it is read.
    """
    with readable(path), path.open("rb") as file:
        stream = file
        if file.peek(len(_GZIP)).startswith(_GZIP):
            stream = io.BufferedReader(gzip.GzipFile(fileobj=file))
        head = stream.peek(4)[:4]
        _reject_other_forms(path, stream.peek(6))
        # What these files begin with is ASCII, which shows how wide their characters are.
        if not (encoding := json.detect_encoding(head)).startswith("utf-8"):
            stream = io.BufferedReader(io.BytesIO(_recoded(path, stream, encoding)))
        marked = stream.peek(3).startswith(codecs.BOM_UTF8)
        if marked:
            stream.read(len(codecs.BOM_UTF8))
        yield Text(stream, marked)


def read_utf8(path: Path) -> bytes:
    """Reads a text file whole, without its byte order mark.

    Raises:
        InputError: It cannot be read, or is not text.
    """
    with utf8_text(path) as text:
        return checked_utf8(path, text.stream.read())


def checked_utf8(path: Path, content: bytes) -> bytes:
    """Checks that a file's content is UTF-8, and returns it.

    Raises:
        InputError: It is not; the message names the first byte at fault.
    """
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            where=f"{path}: byte {error.start}",
            got="a byte sequence that is not UTF-8",
            expected="UTF-8 text",
            remedy="Save the file as UTF-8, or check that it is the right file.",
        ) from None
    return content


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns errors of reading a file into an `InputError`."""
    try:
        yield
    except FileNotFoundError:
        got = "no such file"
    except IsADirectoryError:
        got = "a folder"
    except (EOFError, gzip.BadGzipFile, zlib.error):
        got = "a file packed by gzip that is damaged or breaks off"
    except OSError as error:
        got = f"a file that cannot be read ({error.strerror})"
    else:
        return
    raise InputError(
        where=str(path),
        got=got,
        expected="a readable file",
        remedy="Check the path, the permissions and that the file is whole.",
    )


def _reject_other_forms(path: Path, head: bytes) -> None:
    for mark, name in _OTHER_FORMS.items():
        if head.startswith(mark):
            raise InputError(
                where=str(path),
                got=name,
                expected="a text file, plain or packed by gzip",
                remedy="Unpack it first.",
            )


def _recoded(path: Path, stream: BinaryIO, encoding: str) -> bytes:
    name = encoding[:6].upper()
    if name == "UTF-32":
        raise InputError(
            where=str(path),
            got="text in UTF-32",
            expected="UTF-8 or UTF-16",
            remedy="Save the file as UTF-8.",
        )
    try:
        return stream.read().decode(encoding).encode()
    except UnicodeError as error:
        raise InputError(
            where=str(path),
            got=f"text in {name} that breaks off or is damaged ({error})",
            expected="UTF-8 or UTF-16",
            remedy="Write the file again, best as UTF-8.",
        ) from None
