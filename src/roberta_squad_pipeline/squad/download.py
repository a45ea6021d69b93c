"""Downloads a published file once: checked, retried, and never incomplete."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.common.redaction import redacted

_RETRIES = 2
_CHUNK_BYTES = 1 << 16
_NAME_BYTES = 200  # most file systems take 255, and temporary names are longer

_logger = logging.getLogger(__name__)


def fetch(
    url: str, sha256: str | None, size_bytes: int | None, folder: Path, *, progress: bool
) -> Path:
    """Downloads a file unless it is there already.

    A download that breaks off or fails its check is retried twice. The file gets its name only
    after its checksum was found right; it then replaces a file of that name with another checksum.

    Args:
        url: An HTTP or HTTPS address whose path ends in the file's name.
        sha256: The expected SHA-256 digest in hexadecimal digits; with None, any content is
            accepted with a warning, and kept in a folder for its address.
        size_bytes: The expected size in bytes, to distinguish a short file from a different one;
            None if unknown.
        folder: The folder of the file; created if missing.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The path of the file below ``folder``.

    Raises:
        InputError: There is no connection, the server refuses, the content is not the expected
            one, or the folder cannot be written.
    """
    import pooch  # imported here since most runs fetch nothing and it is slow to import
    from requests import RequestException

    name = name_in(url)
    if sha256 is None:
        # Only the address distinguishes files of the same name.
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    pooch.get_logger().setLevel("WARNING")  # it would log the address with its password
    try:
        cache = pooch.create(
            path=folder.absolute(),  # pooch would expand a leading "~"
            base_url="",
            registry={name: sha256 and f"sha256:{sha256}"},
            urls={name: url},
            retry_if_failed=_RETRIES,
        )
        cache.fetch(name, downloader=_downloader(size_bytes, progress))
        if sha256 is None:
            _warn_unchecked(url, folder / name)
        return folder / name
    except RequestException as error:
        got, remedy = _network_fault(error), "Check the network and the address and try again"
    except _WrongSizeError as error:
        got, remedy = str(error), "Try again"
    except ValueError:
        got, remedy = "a file with another checksum", "Try again"
    except OSError as error:
        got = f"{error.strerror or error} on writing to {folder}"
        remedy = "Check the folder's permissions and the free space"
    expected = [name] if sha256 is None else [f"{name} with sha256 {sha256}"]
    expected += [] if size_bytes is None else [f"{size_bytes:,} bytes"]
    raise InputError(
        where=url,
        got=got,
        expected=" and ".join(expected),
        remedy=f"{remedy}, or fetch the file by hand and put it at {folder / name}, or give its "
        "path with --params data.train=PATH or data.dev=PATH.",
    )


def _warn_unchecked(url: str, path: Path) -> None:
    _logger.warning(
        "%s: accepted unchecked, since its source has sha256: null. Whoever serves it, or "
        "intercepts it, decides what it contains. The file that came has sha256: %s",
        redacted(url),
        sha256_of(path),
    )


class _WrongSizeError(ValueError):
    """A download of the wrong size; pooch retries after a ValueError."""


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


def _downloader(size_bytes: int | None, progress: bool) -> Callable[[str, str, object], None]:
    import pooch

    transfer = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK_BYTES)

    def download(url: str, output_file: str, cache: object) -> None:
        # Only the owner can read pooch's temporary file; a new one gets the usual permissions.
        Path(output_file).unlink()
        transfer(url, output_file, cache)
        received = Path(output_file).stat().st_size
        if size_bytes is not None and received != size_bytes:
            raise _WrongSizeError(f"{received:,} bytes")

    return download


def _network_fault(error: BaseException) -> str:
    from requests import HTTPError, Timeout
    from requests.exceptions import ChunkedEncodingError

    if isinstance(error, HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code} ({error.response.reason})"
    if isinstance(error, ChunkedEncodingError):
        return "a transfer that broke off"
    if isinstance(error, Timeout):
        return "no answer in time"
    # Only the innermost cause gives a reason: refused, unknown host, unreachable.
    while error.__context__ is not None:
        error = error.__context__
    return f"no connection ({error})"
