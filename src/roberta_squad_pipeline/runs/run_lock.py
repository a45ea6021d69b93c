"""Runs that would get in each other's way: the second one says so and stops.

Every run that is going on has a file in one folder, and its process holds a lock on it. The kernel
takes the lock away however the process ends, and the next run removes the file.
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
    """What a run reads and writes, as far as other runs may want it, too."""

    run: str | None
    """Name of the run whose outputs it writes, if it writes any."""
    feature_set: str | None
    """Name of the record of SQuAD files and of the features that it reads or writes, if any."""
    builds: bool
    """Whether it writes them."""
    built_from: str
    """All that they depend on, as one short name: of equal ones each writes the same bytes."""


class Holder(StrictModel):
    """Who has claimed it."""

    claim: Claim
    pid: int
    host: str
    since: datetime

    def __str__(self) -> str:
        """Says where to look for it."""
        began = self.since.astimezone().isoformat(" ", "seconds")
        return f"process {self.pid} on {self.host}, since {began}"


def refuse(mine: Claim, other: Holder) -> None:
    """Checks one claim against another that is held.

    Raises:
        InputError: Both write the outputs of one run, or one would change the features that the
            other works with.
    """
    theirs = other.claim
    if mine.run is not None and mine.run == theirs.run:
        raise InputError(
            where=f"run {mine.run}",
            got=f"another one of that name, which is going on ({other})",
            expected="one at a time",
            remedy="Wait until it has ended, or stop it. Runs that are to go on side by side need "
            "names of their own: --params run=NAME.",
        )
    together = mine.feature_set is not None and mine.feature_set == theirs.feature_set
    changed = (mine.builds or theirs.builds) and mine.built_from != theirs.built_from
    if together and changed:
        raise InputError(
            where=f"feature_set={mine.feature_set}",
            got=f"another run that is at work with them ({other}), and other settings, data or "
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
        folder: The same for all runs that might get in each other's way; made if missing.

    Raises:
        InputError: Another run holds a claim that goes against it, or the folder is not one in
            which files can be locked.
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
            remedy="Give the right to write there, or another folder: --params locks=FOLDER.",
        ) from error
    with file:
        try:
            yield
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    # Only one process at a time may look around and then claim.
    with (folder / _GATE).open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def _holders(folder: Path) -> Iterator[Holder]:
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        # One that ends meanwhile removes its file.
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield Holder.model_validate_json(file.read())
            else:
                path.unlink()  # what a dead process left


def _announce(claim: Claim, folder: Path) -> IO[bytes]:
    holder = Holder(
        claim=claim, pid=os.getpid(), host=socket.gethostname(), since=datetime.now(UTC)
    )
    # The lock lasts as long as this file is open, and no process that is started inherits it.
    file = (folder / f"{uuid4().hex}{_SUFFIX}").open("xb")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(holder.model_dump_json().encode())
    file.flush()
    return file
