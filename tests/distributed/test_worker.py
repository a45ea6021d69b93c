"""What a worker gets of machine 0; the rest is in training/test_job.py.

Oracle: the files themselves.
"""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from roberta_squad_pipeline.distributed import worker
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest


@dataclass(frozen=True)
class Relayed(Processes):
    """A process to which what rank 0 has sent is played back."""

    sent: deque[bytes] = field(default_factory=deque)

    def broadcast_bytes(self, data: bytes | None, source: int = 0) -> bytes:
        if self.rank > 0:
            return self.sent.popleft()
        self.sent.append(data or b"")
        return data or b""

    def any(self, flag: bool) -> bool:
        return flag


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["", "model.safetensors", "members/a/reader.json"])
def test_another_machine_has_a_copy_of_files_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In more pieces than one; of its two processes one writes, and both know where."""
    monkeypatch.setattr(worker, "_PIECE_BYTES", 4)
    mine = tmp_path / "reader"
    (mine / "members/a").mkdir(parents=True)
    (mine / "model.safetensors").write_bytes(b"weights of many bytes")
    (mine / "members/a/reader.json").write_bytes(b"{}")
    (mine / "empty.txt").touch()
    given = mine / name
    relay: deque[bytes] = deque()
    got = {}
    for rank in (0, 2, 3):
        # Machine 1 has no such path.
        path = given if rank == 0 else Path("nowhere") / name
        folder = tmp_path / f"machine{rank // 2}"
        sent = relay if rank == 0 else relay.copy()
        processes = Relayed(rank, 4, None, sent=sent)  # type: ignore[arg-type]
        one = worker.Worker(processes, "", folder, StopRequest(), nodes=2, restarts=0)
        got[rank] = one.share(path)
        assert rank == 0 or not sent
    assert got[0] == given
    assert got[2] == got[3] != given
    if given.is_file():
        assert got[2].read_bytes() == given.read_bytes()
    else:
        assert content(got[2]) == content(given)
