"""JSON files of any size, read piece by piece.

A first pass looks at quotes and brackets alone and cuts every list and object that lies at a given
depth out of the file. What is left, the skeleton, has ``{"piece": n}`` in place of the n-th of them
and is small enough to be validated whole; the pieces are read again when they are asked for. File
and skeleton and pieces together are the same JSON, down to keys that are repeated, and their
syntax errors are told with line and column in the file.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from jiter import from_json
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.json_input import (
    Location,
    not_json,
    not_utf8,
    parsed,
    readable,
    schema_faults,
)

T = TypeVar("T")
Positions = NDArray[np.int64]

_CHUNK_BYTES = 1 << 20
_QUOTE, _BACKSLASH = b'"\\'
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1


class Piece(TypedDict):
    """What stands in the skeleton for a value that was cut out."""

    piece: int


@dataclass(frozen=True, slots=True)
class CutJson:
    """A JSON file whose deeper values were cut out; made by `cut_json`."""

    path: Path
    skeleton: bytes
    bounds: Positions
    """First byte of each piece and one past its last; a byte order mark does not count.
    Shape: (pieces, 2)"""
    mark: int
    """Bytes of the byte order mark."""

    def validated_skeleton(self, schema: TypeAdapter[T], *, remedy: str) -> T:
        """The skeleton as its schema has it.

        Raises:
            InputError: The file is no JSON where it was cut or before that, or the skeleton does
                not follow the schema.
        """
        try:
            return parsed(self.skeleton, schema)
        except ValidationError as error:
            raise next(schema_faults(error, self.path, (), remedy)) from None
        except ValueError as error:
            message = str(error)
        place = self._place_in_file(_place(message, self.skeleton))
        # Brackets of the wrong kind, or a string without an end, lead the cuts astray.
        self.check_syntax(range(int(np.searchsorted(self.bounds[:, 0], place))))
        raise self._not_json(message, place)

    def validated_piece(
        self,
        number: int,
        content: bytes,
        schema: TypeAdapter[T],
        location: Location,
        *,
        remedy: str,
    ) -> T:
        """A piece as its schema has it.

        Args:
            number: Of the piece.
            content: The piece.
            schema: What it must hold.
            location: Where in the file it stands.
            remedy: What to do about a piece that is JSON but does not follow the schema.

        Raises:
            InputError: It is not JSON or does not follow the schema.
        """
        try:
            return parsed(content, schema)
        except ValidationError as error:
            raise next(schema_faults(error, self.path, location, remedy)) from None
        except ValueError as error:
            message = str(error)
        raise self._not_json(message, int(self.bounds[number, 0]) + _place(message, content))

    def pieces(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """Reads pieces, each when it is asked for."""
        with readable(self.path):
            file = self.path.open("rb")
        with file:
            for number in numbers:
                begin, end = self.bounds[number].tolist()
                yield self._read(file, begin, end)

    def check_syntax(self, numbers: Iterable[int]) -> None:
        """Checks pieces that need not follow any schema.

        Raises:
            InputError: One of them is not JSON.
        """
        with readable(self.path):
            file = self.path.open("rb")
        with file:
            for number in numbers:
                begin, end = self.bounds[number].tolist()
                # A piece that lacks its end may reach to the end of the file, and its fault will
                # not be far from its beginning.
                size = _CHUNK_BYTES
                while not self._is_json(file, begin, min(begin + size, end), end):
                    size *= 2

    def _is_json(self, file: BinaryIO, begin: int, to: int, end: int) -> bool:
        """False if nothing is wrong up to a byte before the end."""
        content = self._read(file, begin, to)
        try:
            from_json(content, catch_duplicate_keys=True)
        except ValueError as error:
            message = str(error)
            if to < end and message.startswith("EOF"):
                return False
        else:
            return True
        raise self._not_json(message, begin + _place(message, content))

    def _read(self, file: BinaryIO, begin: int, end: int) -> bytes:
        with readable(self.path):
            file.seek(self.mark + begin)
            return file.read(end - begin)

    def _place_in_file(self, place: int) -> int:
        """The byte of the file that a byte of the skeleton stands for."""
        behind = 0
        for number, (begin, end) in enumerate(self.bounds.tolist()):
            if behind + place < begin:
                break
            place -= begin - behind + len(_placeholder(number))
            if place < 0:
                return int(begin)
            behind = end
        return behind + place

    def _not_json(self, message: str, place: int) -> InputError:
        """The parser's message on a piece or the skeleton, told with line and column in the file.

        Args:
            message: The parser's.
            place: The byte of the file where it found the fault.
        """
        line, column, chunk_begins = 1, 0, 0
        with readable(self.path), self.path.open("rb") as file:
            file.seek(self.mark)
            # As the parser counts: a line feed is the beginning of its line, and the end of the
            # file the last column that there is.
            while chunk := file.read(min(_CHUNK_BYTES, place + 1 - chunk_begins)):
                line += chunk.count(b"\n")
                last = chunk.rfind(b"\n")
                column = column + len(chunk) if last < 0 else len(chunk) - 1 - last
                chunk_begins += len(chunk)
        problem = message.rpartition(" at line ")[0]
        return not_json(self.path, f"{problem} at line {line} column {column}")


def cut_json(path: Path, depth: int) -> CutJson:
    """Cuts lists and objects that lie in `depth` others out of a UTF-8 JSON file.

    Args:
        path: The file; a byte order mark is allowed.
        depth: How many lists and objects lie around each piece.

    Returns:
        Skeleton and pieces. That they are JSON is checked when they are validated.

    Raises:
        InputError: The file cannot be read or is not UTF-8.
    """
    skeleton = bytearray()
    edges: list[Positions] = []
    brackets = _Brackets()
    pieces, inside, position = 0, False, 0
    with readable(path), path.open("rb") as file:
        mark = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        for chunk in _utf8_chunks(path, file, mark):
            found = brackets.edges(chunk, depth)
            edges.append(found + position)
            begin = 0
            for edge in found.tolist():
                if not inside:
                    skeleton += chunk[begin:edge] + _placeholder(pieces)
                    pieces += 1
                inside, begin = not inside, edge
            if not inside:
                skeleton += chunk[begin:]
            position += len(chunk)
    bounds = np.concatenate([*edges, np.repeat(position, inside)]).astype(np.int64)
    return CutJson(path, bytes(skeleton), bounds.reshape(-1, 2), mark)


def _placeholder(number: int) -> bytes:
    # An object, so that the schema takes it where it takes objects; the file has none at this
    # depth any more.
    return b'{"piece":%d}' % number


def _utf8_chunks(path: Path, file: BinaryIO, mark: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(mark)
    position = 0
    while chunk := file.read(_CHUNK_BYTES):
        _check_utf8(path, decoder, chunk, position)
        yield chunk
        position += len(chunk)
    _check_utf8(path, decoder, b"", position)


def _check_utf8(
    path: Path, decoder: codecs.IncrementalDecoder, chunk: bytes, position: int
) -> None:
    # Up to three bytes of a character that the last chunk began.
    begun = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        raise not_utf8(path, position - begun + error.start) from None


class _Brackets:
    """Follows how deep a text is in lists and objects, chunk by chunk."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def edges(self, chunk: bytes, depth: int) -> Positions:
        """Where values begin and end that lie at a depth.

        Args:
            chunk: The next bytes.
            depth: How many lists and objects lie around such a value.

        Returns:
            First byte of a value, one past its last, and so on in turn, over all chunks.
        """
        codes = np.frombuffer(chunk, np.uint8)
        escaped = self._escaped_bytes(codes)
        quotes = np.flatnonzero(codes == _QUOTE)
        if len(escaped):
            quotes = quotes[~np.isin(quotes, escaped)]
        step = _STEP[codes]
        brackets = np.flatnonzero(step)
        in_string = (np.searchsorted(quotes, brackets) + self._in_string) % 2 == 1
        brackets = brackets[~in_string]
        step = step[brackets]
        depths = self._depth + np.cumsum(step, dtype=np.int64)
        self._in_string ^= len(quotes) % 2 == 1
        if len(depths):
            self._depth = int(depths[-1])
        edge = np.where(step > 0, depths == depth + 1, depths == depth)
        edges: Positions = brackets[edge] + (step[edge] < 0)
        return edges

    def _escaped_bytes(self, codes: NDArray[Any]) -> Positions:
        """Which bytes a backslash takes its meaning from."""
        slashes = np.flatnonzero(codes == _BACKSLASH)
        if self._escaped:
            slashes = slashes[slashes > 0]
        # In a run of them every other one escapes, from the first on.
        begins = np.where(np.diff(slashes, prepend=-2) > 1, slashes, 0)
        escapes = slashes[(slashes - np.maximum.accumulate(begins)) % 2 == 0]
        escaped = np.append(np.repeat(-1, self._escaped), escapes) + 1
        self._escaped = bool(len(escapes)) and int(escapes[-1]) == len(codes) - 1
        return escaped


def _place(message: str, content: bytes) -> int:
    """The byte that a parser's message points at.

    Args:
        message: The parser's, with line and column at its end.
        content: What it was given.
    """
    if message.startswith("EOF"):
        return len(content)
    line, _, column = message.rpartition(" at line ")[2].partition(" column ")
    begin = 0
    for _ in range(int(line) - 1):
        begin = content.index(b"\n", begin) + 1
    return begin + int(column) - 1
