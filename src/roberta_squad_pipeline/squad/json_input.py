"""JSON files that users hand in: read and validated in one pass, every fault one clear message."""

import codecs
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from jiter import from_json
from pydantic import TypeAdapter, ValidationError

from roberta_squad_pipeline.common.errors import InputError

T = TypeVar("T")
Location = tuple[str | int, ...]
"""Keys and indices that lead from the top of a JSON file to a value in it."""

_LONGEST_QUOTE = 60
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
}


def read_json(path: Path, schema: TypeAdapter[T], *, remedy: str) -> T:
    """Reads a UTF-8 JSON file (a byte order mark is allowed) that must follow a schema.

    Types are checked strictly: ``"5"``, ``5.0`` and ``true`` are not integers.

    Args:
        path: The file.
        schema: What it must hold.
        remedy: What to do about a file that is JSON but does not follow the schema.

    Returns:
        The validated content.

    Raises:
        InputError: The file cannot be read, is not UTF-8, not JSON or does not follow the schema.
    """
    value = decoded(path, read_utf8(path).removeprefix(codecs.BOM_UTF8))
    return validated(value, schema, path=path, remedy=remedy)


def read_utf8(path: Path) -> bytes:
    """Reads a file that must be UTF-8.

    Raises:
        InputError: It cannot be read, or is not UTF-8.
    """
    with _readable(path):
        content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error.start) from None
    return content


def decoded(path: Path, content: bytes) -> Any:
    """The value that a JSON text stands for.

    Args:
        path: Where it was read from, for messages.
        content: In UTF-8, without a byte order mark.

    Raises:
        InputError: It is not JSON, or an object has a key twice, of which one would be lost.
    """
    try:
        return from_json(content, catch_duplicate_keys=True)
    except ValueError as error:
        raise _not_json(path, str(error)) from None


def validated(
    value: object, schema: TypeAdapter[T], *, path: Path, location: Location = (), remedy: str
) -> T:
    """A decoded JSON value as its schema has it, strictly.

    Args:
        value: Of the file, or a part of it.
        schema: What it must hold.
        path: The file.
        location: Where in the file the value stands.
        remedy: What to do about a value that does not follow the schema.

    Raises:
        InputError: It does not follow the schema; the first fault is told.
    """
    try:
        return schema.validate_python(value, strict=True)
    except ValidationError as error:
        raise next(schema_faults(error, path, location, remedy)) from None


def shown(value: object) -> str:
    """Describes a JSON value in a few words, quoting it where it is short.

    Args:
        value: A decoded JSON value.

    Returns:
        A text to put after "got"; what a terminal would not print, or obey, is escaped.
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    quote = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in quote)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a file while it is read into an `InputError`."""
    try:
        yield
    except FileNotFoundError:
        got = "no such file"
    except IsADirectoryError:
        got = "a folder"
    except OSError as error:
        got = f"a file that cannot be read ({error.strerror})"
    else:
        return
    raise InputError(
        where=str(path),
        got=got,
        expected="a readable JSON file",
        remedy="Check the path and the permissions.",
    )


def _not_utf8(path: Path, byte: int) -> InputError:
    """The error for a file whose text breaks off being UTF-8 at a byte, counted from 0."""
    return InputError(
        where=f"{path}: byte {byte}",
        got="a byte sequence that is not UTF-8",
        expected="UTF-8 text",
        remedy="Save the file as UTF-8, or check that it is the right file.",
    )


def _not_json(path: Path, message: str) -> InputError:
    """The error for text that is not JSON.

    Args:
        path: The file.
        message: The parser's, with line and column in the file.
    """
    problem, _, position = message.rpartition(" at line ")
    got, expected = f"text that is not JSON ({problem})", "one JSON document"
    remedy = "Check that it is the right file and was written as JSON."
    if problem.startswith("Detected duplicate key"):
        got = f"the key {problem.removeprefix('Detected duplicate key ')} for a second time"
        expected = "an object that has each key once"
        remedy = "Remove one of the two; nobody can tell which one counts."
    elif problem.startswith("EOF"):
        got = f"JSON that breaks off ({problem})"
        remedy = "The file is incomplete: fetch it or write it again."
    elif "surrogate" in problem or "hex escape" in problem:
        got = f"a \\u escape that is not a character ({problem})"
        expected = "\\u and four hexadecimal digits, with surrogates (d800 to dfff) in pairs only"
        remedy = "Remove the escape, or write the character itself in UTF-8."
    where = f"{path}: line {position.replace(' column', ', column')}"
    return InputError(where=where, got=got, expected=expected, remedy=remedy)


def schema_faults(
    error: ValidationError, path: Path, location: Location, remedy: str
) -> Iterator[InputError]:
    """All that is wrong with JSON that does not follow its schema, one error each.

    The first is most often enough: the others tend to be the same one again.

    Args:
        error: The validation's.
        path: The file.
        location: Where in the file what was validated stands.
        remedy: What to do about it.
    """
    for found in error.errors(include_url=False):
        fault: Any = found
        steps = [*location, *fault["loc"]]
        if fault["type"] == "missing":
            key = steps.pop()
            got, expected = f"no key {key!r}", f"an object with the key {key!r}"
        else:
            got = shown(fault["input"])
            expected = _EXPECTED.get(fault["type"], fault["msg"])
        where = f"{path}: {json_path(steps) or 'top level'}"
        yield InputError(where=where, got=got, expected=expected, remedy=remedy)


def json_path(location: Iterable[str | int]) -> str:
    """Spells a location as in ``data[3].paragraphs[7].qas[2]``."""
    place = ""
    for step in location:
        if isinstance(step, str) and step.isidentifier():
            place += f".{step}" if place else step
        else:
            place += f"[{json.dumps(step, ensure_ascii=False)}]"
    return place
