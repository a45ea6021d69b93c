"""Makes files on this machine of the questions that the catalog names or loads."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import write_text, written_atomically
from roberta_squad_pipeline.squad.download import fetch_present
from roberta_squad_pipeline.squad.forms import FILE_LIST, files_of

_ROWS = 1000


@dataclass(frozen=True, slots=True)
class QuestionFiles:
    """Where files of questions are.

    Args:
        paths: Files, folders or patterns, here or at addresses that fsspec supports; empty if
            `data.train` or `data.dev` names them.
        options: Arguments for fsspec, including credentials.
    """

    paths: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def local_path(files: QuestionFiles, folder: Path, *, listed_as: str) -> Path:
    """Returns one local path for all files; remote files are fetched if they changed.

    Args:
        files: At least one path.
        folder: The folder for fetched files, and for a list of several files.
        listed_as: Name of the list without its suffix.

    Raises:
        InputError: A file does not exist, or cannot be fetched.
    """
    found: list[Path] = []
    for path in files.paths:
        found += fetch_present(path, files.options, folder) if "://" in path else [Path(path)]
    if len(found) == 1:
        return found[0]
    listed = folder / f"{listed_as}{FILE_LIST}"
    several = [str(file) for one in found for file in files_of(one)]
    write_text(listed, json.dumps(several, indent=1))
    return listed


def write_questions(questions: object, path: Path, *, where: str) -> Path:
    """Writes questions that the catalog has loaded, in a form that `read_items` reads.

    Args:
        questions: Decoded SQuAD JSON, a pandas frame of records, or any other iterable of records,
            passages or articles.
        path: The file without its suffix.
        where: Where they were loaded from, for messages.

    Raises:
        InputError: They are something else.
    """
    whole = isinstance(questions, Mapping)
    path = path.with_name(f"{path.name}{'.json' if whole else '.jsonl'}")
    try:
        with written_atomically(path) as temp, temp.open("w", encoding="utf-8") as file:
            for item in [questions] if whole else _items(questions):
                file.write(json.dumps(item, default=_plain) + "\n")
    except TypeError as error:
        raise InputError(
            where=where,
            got=f"a value of type {type(questions).__name__} ({error})",
            expected="SQuAD JSON, a pandas frame with a question per row, or a list of records",
            remedy="Give the entry a type that loads one of these, such as pandas.ParquetDataset.",
        ) from None
    return path


def _items(questions: Any) -> Iterator[Any]:
    if isinstance(questions, str | bytes) or not isinstance(questions, Iterable):
        raise TypeError("it holds no records")
    frame: Any = questions
    # Not by its class, which would need an import of pandas.
    if hasattr(frame, "iloc"):
        for first in range(0, len(frame), _ROWS):
            rows = frame.iloc[first : first + _ROWS]
            yield from rows.astype(object).where(rows.notna(), None).to_dict(orient="records")
    else:
        yield from questions


def _plain(value: Any) -> Any:
    """Converts NumPy's arrays and numbers to Python's, and times to text."""
    for name in ("tolist", "isoformat"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"a value of type {type(value).__name__} in it")
