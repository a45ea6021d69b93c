"""Reads files of questions item by item: JSON, JSON Lines, Parquet and CSV.

An item is an element of a list in JSON, a line of JSON Lines or a row of a table: an article, a
passage or a question. Which of these it is, is not checked here.
"""

import ast
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from jiter import from_json
from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.json_input import FileError, decoded, read_json, validated
from roberta_squad_pipeline.squad.spellings import with_context
from roberta_squad_pipeline.squad.text_input import Text, checked_utf8, readable, utf8_text

REMEDY = (
    "Give SQuAD 1.1 or 2.0 as JSON, or one record per question, with the keys id, question, "
    "context (or passage) and answers (text and answer_start), as JSON, JSON Lines, Parquet or CSV."
)
"""The remedy for files and items of another form."""

FILE_LIST = ".files.json"
"""Suffix of a list of files: JSON with their paths."""

_PARQUET = b"PAR1"
_ROWS, _BUFFER = 1000, 2**20
_KNOWN = (
    *("id", "title", "context", "passage", "question", "is_impossible", "paragraphs", "qas"),
    *("answers", "answers.text", "answers.answer_start", "plausible_answers"),
)
"""Keys of items; other columns of a table are not read."""
_ITEM_KEYS = {"paragraphs", "qas", "question"}
_SPLIT = re.compile(r"(train|valid|dev|test)(?=[^a-z]|ation|$)")
_VERSION_2 = re.compile(r"v?2(\.|$)", re.IGNORECASE)
_FLAGS = {"": None, "true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_LONGEST_CELL = 2**31 - 1


class _Data(TypedDict):
    data: list[Any]


_SCHEMA: TypeAdapter[_Data] = TypeAdapter(_Data)
_PATHS: TypeAdapter[list[str]] = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of questions.

    Args:
        path: Its path.
        marked: Whether it begins with a byte order mark.
        says_version_2: Whether it claims to be SQuAD 2.0.
    """

    path: Path
    marked: bool = False
    says_version_2: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """An article, a passage or a question, as it stands in the file.

    Args:
        file: The file.
        place: Its place there: a path into the JSON, or "line 3" or "row 3".
        content: Its decoded content.
    """

    file: SourceFile
    place: str
    content: Any


def files_of(path: Path) -> list[Path]:
    """Lists the files that a path stands for, sorted by name.

    Args:
        path: A file; a folder, whose hidden files do not count; a pattern for the names of files in
            a folder, such as ``data/train-*.parquet``; or a list of files, whose name ends in
            `FILE_LIST`.

    Returns:
        The path itself if it is none of the others.

    Raises:
        InputError: There is no file, or the names in a folder are those of several splits.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
    elif "*" in path.name and not path.exists():
        files = list(path.parent.glob(path.name))
    elif path.name.endswith(FILE_LIST):
        return [Path(file) for file in read_json(path, _PATHS, remedy="List paths of files.")]
    else:
        return [path]
    files = sorted(file for file in files if file.is_file())
    check_one_split(str(path), [file.name for file in files])
    return files


def check_one_split(where: str, names: Sequence[str]) -> None:
    """Checks that files belong to one split, as far as their names tell.

    Args:
        where: The folder or pattern by which they were found.
        names: The names of the files.

    Raises:
        InputError: They belong to several splits, or there are none.
    """
    splits = {found.group() for name in names if (found := _SPLIT.match(name.lower()))}
    if not names or len(splits) > 1:
        raise InputError(
            where=where,
            got=f"files of several splits ({', '.join(sorted(splits))})" if names else "no file",
            expected="the files of one split",
            remedy="Check the path, or give a pattern for their names, such as train-*.parquet.",
        )


def read_items(path: Path) -> Iterator[Item | InputError]:
    """Reads files item by item, and continues after a fault if possible.

    JSON is held in memory at once, in about five times its size, and so is UTF-16; the other forms
    are not.

    Args:
        path: JSON, JSON Lines or CSV, in UTF-8 or UTF-16, possibly packed by gzip; or Parquet; or
            several files (see `files_of`).

    Yields:
        The items in file order, and an error for each part that cannot be read.
    """
    try:
        files = files_of(path)
    except InputError as fault:
        yield fault
        return
    for file in files:
        for item in _items(file):
            yield (
                replace(item, content=with_context(item.content))
                if isinstance(item, Item)
                else item
            )


def _items(path: Path) -> Iterator[Item | InputError]:
    try:
        with readable(path), path.open("rb") as stream:
            is_parquet = stream.read(len(_PARQUET)) == _PARQUET
        if is_parquet:
            yield from _parquet_rows(path)
            return
        with utf8_text(path) as text:
            yield from _text_items(path, text)
    except InputError as fault:
        yield fault


def _text_items(path: Path, text: Text) -> Iterator[Item | InputError]:
    file = SourceFile(path, marked=text.marked)
    first = checked_utf8(path, text.stream.readline())
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if (
        b"{" not in first
        and not first.lstrip().startswith(b"[")
        and (suffix in {"csv", "tsv"} or _names_columns(first))
    ):
        yield from _csv_rows(file, first.decode().rstrip("\r\n"), text)
    elif suffix in {"jsonl", "ndjson"} or (text.stream.peek(1) and _is_item(first)):
        yield from _lines(file, first, text)
    else:
        content = first + text.stream.read()
        yield from _json_items(file, decoded(path, checked_utf8(path, content)))


def _names_columns(line: bytes) -> bool:
    return b"question" in line and (b"context" in line or b"passage" in line)


def _is_item(line: bytes) -> bool:
    """Whether a line is a complete JSON object, but not that of a whole SQuAD file."""
    try:
        value = from_json(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "data" not in value


def _json_items(file: SourceFile, value: Any) -> Iterator[Item]:
    if isinstance(value, dict) and "data" not in value and not _ITEM_KEYS.isdisjoint(value):
        yield Item(file, "", value)
        return
    place, items = "", value
    if not isinstance(value, list):
        place, items = "data", validated(value, _SCHEMA, path=file.path, remedy=REMEDY)["data"]
        version_2 = _VERSION_2.match(str(value.get("version"))) is not None
        file = SourceFile(file.path, file.marked, version_2)
    for number, item in enumerate(items):
        yield Item(file, f"{place}[{number}]", item)


def _lines(file: SourceFile, first: bytes, text: Text) -> Iterator[Item | InputError]:
    line = first
    for number in count(1):
        if not line:
            return
        if line.strip():
            try:
                value = decoded(file.path, checked_utf8(file.path, line.rstrip(b"\r\n")))
            except InputError as fault:
                column = fault.where.rpartition(", ")[2]
                yield InputError(
                    where=f"{file.path}: line {number}, {column.rpartition(': ')[2]}",
                    got=fault.got,
                    expected="one JSON object per line",
                    remedy=fault.remedy,
                )
            else:
                yield Item(file, f"line {number}", value)
        line = text.stream.readline()


def _parquet_rows(path: Path) -> Iterator[Item]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = count()
    file = SourceFile(path)
    try:
        # A row group may be as large as the file, so none is read at once.
        with ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as table:
            names = _known_columns(path, table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=_ROWS, columns=names):
                for row in batch.to_pylist():
                    yield Item(file, f"row {next(number)}", row)
    except (ArrowException, OSError) as error:
        raise InputError(
            where=str(path),
            got=f"a Parquet file that is damaged or breaks off ({_one_line(error)})",
            expected="a readable Parquet file",
            remedy="Write or fetch it again.",
        ) from None


def _csv_rows(file: SourceFile, header: str, text: Text) -> Iterator[Item | InputError]:
    separator = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=separator))
    _known_columns(file.path, names)
    csv.field_size_limit(_LONGEST_CELL)
    lines = io.TextIOWrapper(text.stream, encoding="utf-8", newline="")
    rows = csv.reader(lines, delimiter=separator, strict=True)
    number = 1  # as in a spreadsheet, whose first row has the names
    try:
        for number, cells in enumerate(rows, 2):
            if len(cells) == len(names):
                yield Item(file, f"row {number}", _record(dict(zip(names, cells, strict=True))))
            elif cells:
                yield FileError(
                    kind="row_of_other_columns",
                    where=f"{file.path}: row {number}",
                    got=f"{len(cells)} cells",
                    expected=f"{len(names)}, the number of names in the first row",
                    remedy="Put texts with commas or line ends in double quotes, as CSV has it.",
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            where=f"{file.path}: after row {number}",
            got=f"a table that cannot be read ({_one_line(error)})",
            expected="CSV in UTF-8 with texts in double quotes where they hold commas or line ends",
            remedy="Write the table again, best as JSON Lines or Parquet.",
        ) from None


def _known_columns(path: Path, names: Sequence[str]) -> list[str]:
    """The columns of a table that are read."""
    asks = "question" in names and not {"context", "passage"}.isdisjoint(names)
    if not (asks or _ITEM_KEYS & set(names) - {"question"}):
        raise InputError(
            where=str(path),
            got=f"a table with the columns {', '.join(map(repr, names))}"[:300],
            expected="columns id, question, context (or passage) and answers",
            remedy=REMEDY,
        )
    return [name for name in names if name in _KNOWN]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _record(row: dict[str, str]) -> dict[str, Any]:
    """A row of CSV with its texts converted to values."""
    record: dict[str, Any] = dict(row)
    if not record.get("id"):
        record.pop("id", None)
    if "is_impossible" in record:
        flag = row["is_impossible"].strip().lower()
        record["is_impossible"] = _FLAGS.get(flag, row["is_impossible"])
    for key in {"answers", "answers.text", "answers.answer_start", "plausible_answers"} & set(row):
        record[key] = _nested(row[key])
    return record


def _nested(cell: str) -> Any:
    """The value of a cell in JSON or in Python's notation; the cell itself if it is neither."""
    if not cell.strip():
        return None
    try:
        return from_json(cell.encode())
    except ValueError:
        pass
    try:
        shown = _Plain().visit(ast.parse(cell.strip(), mode="eval"))
        return ast.literal_eval(shown)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return cell


class _Plain(ast.NodeTransformer):
    """Replaces arrays in NumPy's notation, ``array([177], dtype=int32)``, by lists."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """The list that an array is made of."""
        is_array = isinstance(node.func, ast.Name) and node.func.id == "array"
        return self.visit(node.args[0]) if is_array and node.args else node
