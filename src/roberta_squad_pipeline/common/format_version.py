"""Files of other releases are refused with what to do, not misread and not called damaged."""

import json

from roberta_squad_pipeline.common.errors import InputError


def check_format_version(
    header: bytes, known: int, *, where: str, remedy: str, oldest: int | None = None
) -> None:
    """Checks that a header has the format that this release reads.

    Args:
        header: JSON with `format_version`; what has none is for others to judge.
        known: The newest version that is read.
        where: The file or folder, for the message.
        remedy: What to do about an older one; a newer one could also be read by a newer release.
        oldest: The oldest version that is read; `known` unless given.

    Raises:
        InputError: It is of another version.
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
