"""Stops a run that would interfere with an active one.

Each active run has a file in a common folder, and its process holds a lock on it. The kernel
releases the lock however the process ends, and the next run removes the file.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel

_GATE = "gate"
_SUFFIX = ".json"


class Claim(StrictModel):
    """What a run reads and writes, as far as other runs may do so, too."""

    run: str | None
    """The run's name if it writes outputs under it."""
    feature_set: str | None
    """Name of the features and of the record of SQuAD files, if it reads or writes them."""
    builds: bool
    """Whether it writes them."""
    built_from: str
    """A short name of all that these depend on: runs with equal ones write the same bytes."""


class Holder(StrictModel):
    """An active run and its claim."""

    claim: Claim
    pid: int
    host: str
    since: datetime

    def __str__(self) -> str:
        """Says which process it is."""
        began = self.since.astimezone().isoformat(" ", "seconds")
        return f"process {self.pid} on {self.host}, since {began}"


def refuse(mine: Claim, other: Holder) -> None:
    """Checks a claim against that of an active run.

    Raises:
        InputError: Both write outputs of the same run, or one would change features that the other
            uses.
    """
    theirs = other.claim
    if mine.run is not None and mine.run == theirs.run:
        raise InputError(
            where=f"run {mine.run}",
            got=f"another one of that name, which is going on ({other})",
            expected="one at a time",
            remedy="Wait until it has ended, or stop it. Runs at the same time need different "
            "names: --params run=NAME.",
        )
    together = mine.feature_set is not None and mine.feature_set == theirs.feature_set
    changed = (mine.builds or theirs.builds) and mine.built_from != theirs.built_from
    if together and changed:
        raise InputError(
            where=f"feature_set={mine.feature_set}",
            got=f"another run that is using them ({other}), and other settings, data or "
            "code in this one",
            expected="runs that agree on the features they share",
            remedy="Wait until it has ended, or give this one features of its own: "
            "--params feature_set=NAME.",
        )


@contextmanager
def held(claim: Claim, folder: Path) -> Iterator[None]:
    """Holds a claim while the block runs.

    Args:
        claim: What the block reads and writes.
        folder: The same for all runs that might interfere; created if missing.

    Raises:
        InputError: Another run holds a conflicting claim, or files in the folder cannot be locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _gate(folder):
            for other in _holders(folder):
                refuse(claim, other)
            file = _announce(claim, folder)
    except OSError as error:
        raise InputError(
            where=str(folder),
            got=error.strerror or str(error),
            expected="a folder in which files can be written and locked",
            remedy="Grant the right to write there, or give another folder: --params locks=FOLDER.",
        ) from error
    with file:
        try:
            yield
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    # Only one process at a time may check the others' claims and add its own.
    with (folder / _GATE).open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def _holders(folder: Path) -> Iterator[Holder]:
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        # A run that ends meanwhile removes its file.
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield Holder.model_validate_json(file.read())
            else:
                path.unlink()  # left by a dead process


def _announce(claim: Claim, folder: Path) -> IO[bytes]:
    holder = Holder(
        claim=claim, pid=os.getpid(), host=socket.gethostname(), since=datetime.now(UTC)
    )
    # The lock lasts as long as this file is open; child processes do not inherit it.
    file = (folder / f"{uuid4().hex}{_SUFFIX}").open("xb")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(holder.model_dump_json().encode())
    file.flush()
    return file
