"""JSON files from users, read and validated; each fault gets a message of its own."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from jiter import from_json
from pydantic import TypeAdapter, ValidationError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.text_input import read_utf8

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

    Types are checked strictly: ``"5"``, ``5.0`` and ``true`` are not integers.

    Args:
        path: The file.
        schema: The schema that it must follow.
        remedy: What to do about a file that is JSON but does not follow the schema.

    Returns:
        The validated content.

    Raises:
        InputError: The file cannot be read, is not UTF-8, not JSON or does not follow the schema.
    """
    return validated(decoded(path, read_utf8(path)), schema, path=path, remedy=remedy)


def decoded(path: Path, content: bytes) -> Any:
    """Decodes a JSON text.

    Args:
        path: Where it was read from, for messages.
        content: In UTF-8, without a byte order mark.

    Raises:
        InputError: It is not JSON, or an object has a key twice, so that one would be lost.
    """
    try:
        return from_json(content, catch_duplicate_keys=True)
    except ValueError as error:
        raise _not_json(path, str(error)) from None


def validated(value: object, schema: TypeAdapter[T], *, path: Path, remedy: str) -> T:
    """Validates a decoded JSON value, strictly.

    Args:
        value: The content of the file.
        schema: The schema that it must follow.
        path: The file.
        remedy: What to do about a value that does not follow the schema.

    Raises:
        FileError: The first place where it does not follow the schema.
    """
    try:
        return schema.validate_python(value, strict=True)
    except ValidationError as error:
        raise next(schema_faults(error, path, "", lambda _: remedy)) from None


def shown(value: object) -> str:
    """Describes a JSON value in a few words, quoting it where it is short.

    Args:
        value: A decoded JSON value.

    Returns:
        A text to put after "got"; characters that a terminal would not print, or obey, are escaped.
    """
    if isinstance(value, dict):
        return f"an object with the keys {_names(value)}" if value else "an object without keys"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    quote = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    if quote.isprintable():
        return quote
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in quote)


def _not_json(path: Path, message: str) -> InputError:
    """The error for text that is not JSON, with the line and column of the parser's message."""
    problem, _, position = message.rpartition(" at line ")
    got, expected = f"text that is not JSON ({problem})", "one JSON document"
    remedy = "Check that it is the right file and was written as JSON."
    if problem.startswith("Detected duplicate key"):
        got = f"the key {problem.removeprefix('Detected duplicate key ')} for a second time"
        expected = "an object that has each key once"
        remedy = "Remove one of the two: it is not clear which one counts."
    elif problem.startswith("EOF"):
        got = f"JSON that breaks off ({problem})"
        remedy = "The file is incomplete: fetch it or write it again."
    elif "surrogate" in problem or "hex escape" in problem:
        got = f"a \\u escape that is not a character ({problem})"
        expected = "\\u and four hexadecimal digits, with surrogates (d800 to dfff) in pairs only"
        remedy = "Remove the escape, or write the character itself in UTF-8."
    where = f"{path}: line {position.replace(' column', ', column')}"
    return InputError(where=where, got=got, expected=expected, remedy=remedy)


class FileError(InputError):
    """Something wrong in a file of questions.

    Args:
        kind: A name that all faults of the same sort share, such as `no_context`.
        where: This argument and the others are those of `InputError`.
        got: What was found there.
        expected: What should have been there.
        remedy: What to do about it.
    """

    def __init__(self, *, kind: str, where: str, got: str, expected: str, remedy: str) -> None:
        self.kind = kind
        super().__init__(where=where, got=got, expected=expected, remedy=remedy)


def schema_faults(
    error: ValidationError, path: Path, place: str, remedy: Callable[[str], str]
) -> Iterator[FileError]:
    """The faults of a value that does not follow its schema.

    Args:
        error: From the validation of the value.
        path: The file.
        place: Where the value stands in the file; empty for the whole file.
        remedy: Says what to do, given the key that is missing or has a wrong value.
    """
    for found in error.errors(include_url=False):
        fault: Any = found
        steps = list(fault["loc"])
        key = next((step for step in reversed(steps) if isinstance(step, str)), "entry")
        if fault["type"] == "missing":
            steps.pop()
            kind = f"no_{key}"
            got = f"no key {key!r}" + f", but {_names(fault['input'])}" * bool(fault["input"])
            expected = f"an object with the key {key!r}"
        else:
            kind = f"{key}_of_another_type"
            got = shown(fault["input"])
            expected = _EXPECTED.get(fault["type"], fault["msg"])
        where = f"{path}: {joined(place, json_path(steps)) or 'top level'}"
        yield FileError(kind=kind, where=where, got=got, expected=expected, remedy=remedy(key))


def joined(place: str, inner: str) -> str:
    """The place in a file that `inner` names within `place`."""
    return f"{place}.{inner}" if place and inner and inner[0] != "[" else place + inner


def json_path(location: Iterable[str | int]) -> str:
    """Spells a location as in ``data[3].paragraphs[7].qas[2]``."""
    place = ""
    for step in location:
        if isinstance(step, str) and step.isidentifier():
            place += f".{step}" if place else step
        else:
            place += f"[{json.dumps(step, ensure_ascii=False)}]"
    return place


def _names(value: dict[str, Any]) -> str:
    names = ", ".join(map(repr, value))
    return names if len(names) <= _LONGEST_QUOTE else f"{names[:_LONGEST_QUOTE]}…"
