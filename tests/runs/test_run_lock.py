"""Claims that real processes hold, and what is refused because of them.

Oracle: the rules of `refuse`, by hand; the system's own processes and signals.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.run_lock import (
    Claim,
    Holder,
    held,
    refuse,
)

Start = Callable[..., subprocess.Popen[str]]

HOLD = """
import sys
from pathlib import Path
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.run_lock import Claim, held

claim = Claim(run=sys.argv[2], feature_set="shared", builds=False, built_from="one")
sys.stdin.readline()
try:
    with held(claim, Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except InputError as error:
    print(error, flush=True)
"""


def claim(
    run: str | None = None,
    feature_set: str | None = None,
    builds: bool = False,
    built_from: str = "one",
) -> Claim:
    return Claim(run=run, feature_set=feature_set, builds=builds, built_from=built_from)


def holder(of: Claim) -> Holder:
    return Holder(claim=of, pid=7, host="far", since=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (claim("a"), claim("b")),
        (claim(None), claim(None)),
        (claim("a", "x"), claim("b", "x", built_from="two")),
        (claim("a", "x", builds=True), claim("b", "y", built_from="two")),
        (claim("a", "x", builds=True), claim("b", "x", builds=True)),
        (claim(None, None, builds=False), claim("a", "x", builds=True)),
    ],
)
def test_what_does_not_get_in_the_way(mine: Claim, theirs: Claim) -> None:
    refuse(mine, holder(theirs))
    refuse(theirs, holder(mine))


@pytest.mark.parametrize(
    ("mine", "theirs", "where"),
    [
        (claim("a"), claim("a"), "run a"),
        (claim("a", "x"), claim("a", "y", built_from="two"), "run a"),
        (claim("a", "x", builds=True), claim("b", "x", built_from="two"), "feature_set=x"),
        (
            claim(None, "x", builds=True),
            claim("b", "x", built_from="two"),
            "feature_set=x",
        ),
    ],
)
def test_what_gets_in_the_way(mine: Claim, theirs: Claim, where: str) -> None:
    for one, other in ((mine, theirs), (theirs, mine)):
        with pytest.raises(InputError) as caught:
            refuse(one, holder(other))
        assert where in caught.value.where
        assert "process 7 on far, since 20" in caught.value.got
        assert "--params " in caught.value.remedy


@pytest.fixture
def start() -> Iterator[Start]:
    """Processes that claim a run when they are told to, and let go when told again."""
    processes = []

    def run(folder: Path, name: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_many_processes_one_gets_it_and_a_dead_one_leaves_nothing(
    tmp_path: Path, start: Start
) -> None:
    folder = tmp_path / "new" / "locks"
    rivals = [start(folder, "mine") for _ in range(4)]
    for process in rivals:
        tell(process)
    said = {process: heard(process) for process in rivals}
    [winner] = [process for process, what in said.items() if what == "held"]
    for process, what in said.items():
        if process is not winner:
            assert what.startswith("run mine: got another one of that name")
            assert f"process {winner.pid} on {socket.gethostname()}, since " in what
    # Another run of the same features is not in the way.
    with held(claim("other", "shared"), folder):
        pass
    os.kill(winner.pid, signal.SIGKILL)
    winner.wait()
    with held(claim("mine", "shared", builds=True, built_from="two"), folder):
        assert len(list(folder.glob("*.json"))) == 1
    assert [path.name for path in folder.iterdir()] == ["gate"]


def fail_while_held(folder: Path) -> None:
    with held(claim("a"), folder):
        with pytest.raises(InputError, match="run a: got another one"), held(claim("a"), folder):
            pass
        raise ZeroDivisionError


def test_claim_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_while_held(tmp_path)
    with held(claim("a"), tmp_path):
        pass


def test_claim_is_not_inherited(tmp_path: Path) -> None:
    """A process that was started by a run and outlives it keeps nothing locked."""
    with held(claim("a"), tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
    with held(claim("a"), tmp_path):
        pass
    child.communicate(b"\n")


def test_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(InputError, match="--params locks=FOLDER"),
        held(claim("a"), tmp_path / "file"),
    ):
        pass
