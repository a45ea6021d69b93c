"""Makes files on this machine of the questions that the catalog names or loads."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import write_text, written_atomically
from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.squad.download import name_in
from roberta_squad_pipeline.squad.forms import FILE_LIST, check_one_split, files_of

_VERSION = ("ETag", "Last-Modified", "LastModified", "md5Hash", "generation", "mtime", "created")
"""Properties of a remote file that change when the file does."""
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
        found += _fetched(path, files.options, folder) if "://" in path else [Path(path)]
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


def _fetched(url: str, options: Mapping[str, Any], folder: Path) -> list[Path]:
    hidden = Redaction(values=frozenset(_texts(options)))
    where = hidden.text(url)
    remedy = "Check the address, the network, and the credentials of its entry in the catalog."
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url, **options)
        if "*" in path:
            found = system.glob(path)
        else:
            is_folder = system.info(path)["type"] == "directory"
            found = system.find(path, maxdepth=1) if is_folder else [path]
        names = {one: name_in(one) for one in sorted(found)}
        kept = [one for one in names if len(names) == 1 or names[one][0] not in "._"]
        check_one_split(where, [names[one] for one in kept])
        return [_copied(system, one, names[one], folder) for one in kept]
    except InputError:
        raise
    except ImportError as error:
        got = str(error)
        remedy = "Install it: pip install s3fs for s3://, gcsfs for gs://."
    except FileNotFoundError as error:
        # Over HTTP, fsspec raises this for every failure.
        status = getattr(error.__cause__, "status", None)
        got = f"HTTP status {status}" if status else "no such file"
    except Exception as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise InputError(
        where=where, got=hidden.text(got), expected="a file that can be fetched", remedy=remedy
    )


def _copied(system: Any, path: str, name: str, folder: Path) -> Path:
    """A local copy of the file's present version; fetched again if versions are unknown."""
    info = system.info(path)
    version = [str(info[key]) for key in _VERSION if info.get(key)]
    stamp = hashlib.sha256(repr((system.protocol, path, version)).encode()).hexdigest()[:16]
    target = folder / "fetched" / stamp / name
    if not (version and target.exists()):
        with written_atomically(target) as temp:
            system.get_file(path, str(temp))
            size, came = info.get("size"), temp.stat().st_size
            if size not in {None, came}:
                raise OSError(f"{came:,} of {size:,} bytes came")
    return target


def _texts(options: object) -> Iterator[str]:
    if isinstance(options, Mapping):
        for value in options.values():
            yield from _texts(value)
    elif isinstance(options, str) and options:
        yield options
