"""JSON files that users hand in: read and validated in one pass, every fault one clear message."""

import codecs
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from roberta_squad_pipeline.errors import InputError

T = TypeVar("T")

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

    Types are checked strictly: ``"5"``, ``5.0`` and ``true`` are no integers.

    Args:
        path: The file.
        schema: What it must hold.
        remedy: What to do about a file that is JSON but does not follow the schema.

    Returns:
        The validated content.

    Raises:
        InputError: The file cannot be read, is not UTF-8, not JSON or does not follow the schema.
    """
    content = _read_bytes(path).removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            where=f"{path}: byte {error.start}",
            got="a byte sequence that is not UTF-8",
            expected="UTF-8 text",
            remedy="Save the file as UTF-8, or check that it is the right file.",
        ) from None
    try:
        return schema.validate_json(content, strict=True)
    except ValidationError as error:
        # Only the first fault is shown: the others are most often the same one again.
        fault: Any = error.errors(include_url=False)[0]
    if fault["type"] == "json_invalid":
        raise _not_json(path, fault["ctx"]["error"])
    raise _wrong_schema(path, fault, remedy)


def shown(value: object) -> str:
    """Describes a JSON value in a few words, quoting it where it is short.

    Args:
        value: A decoded JSON value.

    Returns:
        A text to put behind "got".
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        got = "no such file"
    except IsADirectoryError:
        got = "a folder"
    except OSError as error:
        got = f"a file that cannot be read ({error.strerror})"
    raise InputError(
        where=str(path),
        got=got,
        expected="a readable JSON file",
        remedy="Check the path and the permissions.",
    )


def _not_json(path: Path, message: str) -> InputError:
    problem, _, position = message.rpartition(" at line ")
    got, expected = f"text that is not JSON ({problem})", "one JSON document"
    remedy = "Check that it is the right file and was written as JSON."
    if problem.startswith("EOF"):
        got = f"JSON that breaks off ({problem})"
        remedy = "The file is incomplete: fetch it or write it again."
    elif "surrogate" in problem or "hex escape" in problem:
        got = f"a \\u escape that is not a character ({problem})"
        expected = "\\u and four hexadecimal digits, with surrogates (d800 to dfff) in pairs only"
        remedy = "Remove the escape, or write the character itself in UTF-8."
    where = f"{path}: line {position.replace(' column', ', column')}"
    return InputError(where=where, got=got, expected=expected, remedy=remedy)


def _wrong_schema(path: Path, fault: Any, remedy: str) -> InputError:
    location = list(fault["loc"])
    if fault["type"] == "missing":
        key = location.pop()
        got, expected = f"no key {key!r}", f"an object with the key {key!r}"
    else:
        got = shown(fault["input"])
        expected = _EXPECTED.get(fault["type"], fault["msg"])
    place = _json_path(location)
    where = f"{path}: {place}" if place else f"{path}: top level"
    return InputError(where=where, got=got, expected=expected, remedy=remedy)


def _json_path(location: list[str | int]) -> str:
    place = ""
    for step in location:
        if isinstance(step, str) and step.isidentifier():
            place += f".{step}" if place else step
        else:
            place += f"[{json.dumps(step, ensure_ascii=False)}]"
    return place
