"""Fetches files from addresses: checked, retried, and never incomplete."""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of, written_atomically
from roberta_squad_pipeline.common.redaction import Redaction, redacted
from roberta_squad_pipeline.squad.forms import check_one_split

_SECONDS_BEFORE_TRIES = (0, 1, 2)
_SECONDS_OF_SILENCE = 30
_NAME_BYTES = 200  # most file systems take 255, and temporary names are longer
_VERSION = ("ETag", "Last-Modified", "LastModified", "md5Hash", "generation", "mtime", "created")
"""Properties of a remote file that change when the file does."""

_logger = logging.getLogger(__name__)


def fetch(url: str, sha256: str | None, size_bytes: int | None, folder: Path) -> Path:
    """Fetches a published file unless it is there already.

    It replaces a file of its name with another checksum.

    Args:
        url: An address whose path ends in the file's name.
        sha256: The expected SHA-256 digest in hexadecimal digits; with None, any content is
            accepted with a warning, and kept in a folder for its address.
        size_bytes: The expected size in bytes, to distinguish a short file from a different one;
            None if unknown.
        folder: The folder of the file; created if missing.

    Returns:
        The path of the file below ``folder``.

    Raises:
        InputError: There is no connection, the server refuses, the content is not the expected
            one, or the folder cannot be written.
    """
    name = name_in(url)
    if sha256 is None:
        # Only the address distinguishes files of the same name.
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    target = folder / name
    expected = [name if sha256 is None else f"{name} with sha256 {sha256}"]
    expected += [] if size_bytes is None else [f"{size_bytes:,} bytes"]
    remedy = (
        "Check the network, the address, and that the file's folder has room and can be written. "
        f"Then try again, or fetch the file by hand and put it at {target}, or give its path with "
        "--params data.train=PATH or data.dev=PATH."
    )
    if not (target.is_file() and sha256 in {None, sha256_of(target)}):
        with _faults_explained(Redaction(), url, " and ".join(expected), remedy):
            _download(*_found(url, {}), target, sha256=sha256, size_bytes=size_bytes)
    if sha256 is None:
        _logger.warning(
            "%s: accepted unchecked, since its source has sha256: null. Whoever serves it, or "
            "intercepts it, decides what it contains. The file that came has sha256: %s",
            redacted(url),
            sha256_of(target),
        )
    return target


def fetch_present(url: str, options: Mapping[str, Any], folder: Path) -> list[Path]:
    """Fetches the present versions of all files at an address, unless they are there already.

    Args:
        url: A file, a folder, or a pattern of names, at an address that fsspec supports.
        options: Arguments for fsspec, including credentials, which no message shows.
        folder: The folder of the files; created if missing.

    Raises:
        InputError: There is no such file, it cannot be fetched, or the files are of several splits.
    """
    hidden = Redaction(options)
    where = hidden.text(url)
    remedy = "Check the address, the network, and the credentials of its entry in the catalog."
    with _faults_explained(hidden, where, "a file that can be fetched", remedy):
        system, path = _found(url, options)
        if "*" in path:
            found = system.glob(path)
        else:
            is_folder = system.info(path)["type"] == "directory"
            found = system.find(path, maxdepth=1) if is_folder else [path]
        names = {one: name_in(one) for one in sorted(found)}
        kept = [one for one in names if len(names) == 1 or names[one][0] not in "._"]
        check_one_split(where, [names[one] for one in kept])
        return [_present(system, one, folder, names[one]) for one in kept]


def _present(system: Any, path: str, folder: Path, name: str) -> Path:
    """A local copy of the file's present version; fetched again if versions are unknown."""
    info = system.info(path)
    version = [str(info[key]) for key in _VERSION if info.get(key)]
    stamp = hashlib.sha256(repr((system.protocol, path, version)).encode()).hexdigest()[:16]
    target = folder / "fetched" / stamp / name
    if not (version and target.exists()):
        _download(system, path, target, sha256=None, size_bytes=info.get("size"))
    return target


def name_in(url: str) -> str:
    """The file's name at the end of an address.

    Raises:
        InputError: There is none, or no file can have it.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if name in {"", ".."} or not name.isprintable() or len(name.encode()) > _NAME_BYTES:
        raise InputError(
            where=url,
            got="an address without a file name, or with one that no file can have",
            expected="an address whose path ends in one",
            remedy="Correct the address.",
        )
    return name


def _found(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    from fsspec.core import url_to_fs  # imported here since most runs fetch nothing

    if urlsplit(url).scheme in {"http", "https"}:
        from aiohttp import ClientTimeout

        # By default, any file would have to come within five minutes, and proxies are ignored.
        silence = ClientTimeout(sock_connect=_SECONDS_OF_SILENCE, sock_read=_SECONDS_OF_SILENCE)
        own = {"timeout": silence, "trust_env": True}
        options = {**options, "client_kwargs": own | options.get("client_kwargs", {})}
    system, path = url_to_fs(url, **options)
    return system, path


def _download(
    system: Any, path: str, target: Path, *, sha256: str | None, size_bytes: int | None
) -> None:
    """Writes a file once its content was found right; a fault that passes is survived."""
    from fsspec.callbacks import TqdmCallback

    with written_atomically(target) as temp:
        for wait_s in _SECONDS_BEFORE_TRIES:
            time.sleep(wait_s)
            try:
                with TqdmCallback({"desc": target.name, "unit": "B", "unit_scale": True}) as shown:
                    system.get_file(path, str(temp), callback=shown)
                _check(temp, sha256, size_bytes)
            except Exception:
                if wait_s == _SECONDS_BEFORE_TRIES[-1]:
                    raise
            else:
                return


class _OtherContentError(Exception):
    """Another file came than the expected one."""


def _check(file: Path, sha256: str | None, size_bytes: int | None) -> None:
    came = file.stat().st_size
    if size_bytes not in {None, came}:
        raise _OtherContentError(f"{came:,} of {size_bytes:,} bytes")
    if sha256 not in {None, sha256_of(file)}:
        raise _OtherContentError("a file with another checksum")


@contextmanager
def _faults_explained(hidden: Redaction, where: str, expected: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        got = str(error)
        remedy = "Install it: pip install s3fs for s3://, gcsfs for gs://."
    except Exception as error:
        got = _fault(error)
    else:
        return
    # The error itself may name the address with its password, and plug-ins keep what they catch.
    raise InputError(where=where, got=hidden.text(got), expected=expected, remedy=remedy) from None


def _fault(error: Exception) -> str:
    from aiohttp import ClientConnectionError, ClientPayloadError

    # Looking for a file over HTTP, fsspec has one error for every failure.
    cause = error.__cause__ or error
    if status := getattr(error, "status", None) or getattr(cause, "status", None):
        return f"HTTP status {status}"
    for kind, said in (
        (ClientPayloadError, "a transfer that broke off"),
        (TimeoutError, "no answer in time"),
        (ClientConnectionError, f"no connection ({cause})"),
        (FileNotFoundError, "no such file"),
        (_OtherContentError, str(error)),
    ):
        if isinstance(error, kind) or isinstance(cause, kind):
            return said
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
