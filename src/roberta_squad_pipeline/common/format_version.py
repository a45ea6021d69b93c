"""Recognises files of other releases, so that they are neither misread nor called damaged."""

import json

from roberta_squad_pipeline.common.errors import InputError


def check_format_version(
    header: bytes, known: int, *, where: str, remedy: str, oldest: int | None = None
) -> None:
    """Checks that a header has a format that this release reads.

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
