"""Writes files completely or not at all, and recognises them: by fingerprint or format version."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roberta_squad_pipeline.common.errors import InputError

_OF_RUST = re.compile(r"\(os error (\d+)\)")


def sha256_of(path: Path) -> str:
    """Hashes a file's bytes.

    Args:
        path: The file; it is read in pieces, so it may be of any size.

    Returns:
        The SHA-256 digest as 64 lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path]) -> str:
    """Hashes the names and bytes of several files, in the given order.

    Returns:
        The SHA-256 digest as 64 lower-case hexadecimal digits.

    Raises:
        OSError: A file cannot be read.
    """
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{sha256_of(path)} {path.name}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Returns name, size in bytes and time of modification of a file, or of a folder's content.

    The list is empty if there is no such path.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    stats = [(file.name, file.stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def check_format_version(
    header: bytes, known: int, *, where: str, remedy: str, oldest: int | None = None
) -> None:
    """Checks that a header has a format that this release reads.

    So files of other releases are neither misread nor called damaged.

    Args:
        header: JSON with `format_version`; without it, nothing is checked.
        known: The newest version that is read.
        where: The file or folder, for the message.
        remedy: What to do about an older version; for a newer one, a newer release would help, too.
        oldest: The oldest version that is read; by default `known`.

    Raises:
        InputError: It has another version.
    """
    try:
        read = json.loads(header)
    except ValueError:
        return
    found = read.get("format_version") if isinstance(read, dict) else None
    if not isinstance(found, int) or (oldest or known) <= found <= known:
        return
    newer = found > known
    raise InputError(
        where=where,
        got=f"format version {found}, of {'a newer' if newer else 'an older'} release",
        expected=f"format version {known}",
        remedy=f"Install the newer release. Or: {remedy}" if newer else remedy,
    )


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Writes a file or a folder completely or not at all.

    Yields a path that does not exist yet, with the target's name and on the target's file system,
    where the block creates a file or a folder. This replaces the target when the block ends; after
    an exception, the target stays as it was. Missing parent folders are created.

    Args:
        path: The target. An existing file is replaced by a file, a folder by a folder; a symbolic
            link is followed.

    Raises:
        OSError: The target cannot be written, or is a folder where the block wrote a file or the
            other way round.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    # In a private folder, unlike under a temporary name, the new file gets the permissions of the
    # user's umask, and keeps its suffix, which some writers need.
    workspace = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temp = workspace / target.name
        yield temp
        _flush(temp)
        if temp.is_dir() and target.is_dir():
            _replace_folder(temp, target, aside=workspace / f"{target.name}.old")
        else:
            temp.replace(target)
        _sync(target.parent)
    except OSError as error:
        # A full disk is found where a stream is written to, which does not know its file.
        if error.errno is not None:
            error.filename = error.filename or str(target)
        raise
    except Exception as error:
        # Libraries in Rust, such as safetensors, have errors of their own.
        if not (of_system := _OF_RUST.search(str(error))):
            raise
        number = int(of_system[1])
        raise OSError(number, os.strerror(number), str(target)) from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8 completely or not at all; see `written_atomically`."""
    with written_atomically(path) as temp:
        temp.write_text(text, encoding="utf-8")


def _replace_folder(temp: Path, target: Path, *, aside: Path) -> None:
    # No portable call swaps two folders, so for a moment there is none under the target's name.
    try:
        target.replace(aside)
        temp.replace(target)
    except BaseException:
        if not target.exists():
            aside.replace(target)
        raise


def _flush(path: Path) -> None:
    # Without this a power cut after the rename could leave an empty file under the final name.
    if path.is_dir():
        for child in path.iterdir():
            _flush(child)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
