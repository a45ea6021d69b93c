"""What the launcher works out without starting anything; the rest is in training/test_job.py."""

import socket
from pathlib import Path

import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.distributed.launch import (
    _tail,
    local_processes,
    meeting_point,
    own_address,
    read_error,
    write_error,
)
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.distributed.worker import Worker


@pytest.mark.parametrize(
    ("gpus", "asked", "processes"), [(0, None, 1), (0, 3, 3), (8, None, 8), (8, 2, 2)]
)
def test_a_process_for_each_gpu(
    monkeypatch: pytest.MonkeyPatch, gpus: int, asked: int | None, processes: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert local_processes(config(asked)) == processes


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"3 processes for 2 visible GPUs"):
        local_processes(config(3))


def config(processes: int | None) -> DistributedConfig:
    return DistributedConfig(
        processes=processes,
        nodes=1,
        node_rank=0,
        rendezvous=None,
        join_timeout_s=300,
        strategy="ddp",
        max_restarts=3,
    )


def test_own_address() -> None:
    assert own_address("127.0.0.1:29500") == "127.0.0.1"
    with pytest.raises(InputError, match=r"distributed.rendezvous=no-such-host.invalid:1: got no"):
        own_address("no-such-host.invalid:1")


def test_meeting_point_on_a_port_that_is_taken() -> None:
    """Oracle: a socket that listens there; afterwards the port is free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        two = config(1).model_copy(update={"nodes": 2, "rendezvous": f"127.0.0.1:{port}"})
        with (
            pytest.raises(InputError, match=rf"127.0.0.1:{port}: got no port to listen on"),
            meeting_point(two),
        ):
            pass
    with meeting_point(two), socket.create_connection(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(
    "error",
    [
        TrainingError("update 3: got loss nan"),
        InputError(where="a", got="b", expected="c", remedy="d."),
    ],
)
def test_errors_cross_between_processes(tmp_path: Path, error: InputError | TrainingError) -> None:
    write_error(error, tmp_path / "error.json")
    read = read_error(tmp_path / "error.json")
    assert type(read) is type(error)
    assert str(read) == str(error)


def test_half_an_event_costs_no_other(tmp_path: Path) -> None:
    """A process is killed while it writes; the one in its place goes on in the same file."""
    folder = tmp_path / "events.jsonl"
    events = _tail(folder)
    assert next(events) == []
    told(tmp_path, {"update": 1})
    with folder.open("a") as stream:
        stream.write('\n{"update": 2, "lo')
    assert next(events) == [{"update": 1}]
    told(tmp_path, {"restarts": 1})
    told(tmp_path, {"update": 2})
    assert next(events) == [{"restarts": 1}, {"update": 2}]


def told(folder: Path, event: dict[str, int]) -> None:
    alone = Processes.alone(torch.device("cpu"))
    Worker(alone, "", folder, StopRequest(), nodes=1, restarts=0).tell(event)
