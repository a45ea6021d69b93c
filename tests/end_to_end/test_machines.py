"""Two machines.

They are network namespaces with a cable between them where these can be made, else two projects
that meet on the loopback interface.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]
StartOn = Callable[..., subprocess.Popen[str]]


@dataclass
class Network:
    """Two machines that reach each other."""

    namespaces: tuple[str | None, str | None]
    """None where they are one machine."""
    address: str
    """Of the first."""


LOOPBACK = Network((None, None), "127.0.0.1")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[Network]:
    names = [f"qa{number}-{uuid.uuid4().hex[:6]}" for number in range(2)]
    cables = [f"v{name[2]}{name[4:]}" for name in names]
    if os.geteuid() != 0 or shutil.which("ip") is None:
        yield LOOPBACK
        return
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), start=1):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError:  # a container may not be allowed to
        yield LOOPBACK
    else:
        yield Network((names[0], names[1]), "10.77.0.1")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


LATE = """
import runpy

from torch.distributed.elastic.agent.server.api import SimpleElasticAgent

usual = SimpleElasticAgent._exit_barrier


def late(agent):
    usual(agent)
    __import__("time").sleep(2)


SimpleElasticAgent._exit_barrier = late
runpy.run_module("kedro", run_name="__main__", alter_sys=True)
"""


def test_two_machines_share_a_run(
    project: Path,
    other_machine: Path,
    network: Network,
    free_port: int,
    start: Callable[..., Any],
    start_on: StartOn,
    finished_by_two: Path,
    runs: Runs,
) -> None:
    """The second needs no data and writes nothing; results are those of one machine.

    Machine 0 closes the training two seconds after the second, which looks for the next job by
    then. The second and its workers start as a user's do, with nothing imported before.
    Oracle: two processes on one machine, which add up gradients in the same order.
    """
    (project / "late.py").write_text(LATE)
    params = {
        "distributed.nodes": 2,
        "distributed.processes": 1,
        "distributed.rendezvous": f"{network.address}:{free_port}",
        "inference.batch_windows": 4,
    }
    first, second = network.namespaces
    machines = (
        start(
            params | {"distributed.node_rank": 0},
            "train,inference",
            program=project / "late.py",
            network=first,
        ),
        start_on(second, other_machine, params | {"distributed.node_rank": 1}),
    )
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(said)
    assert not (other_machine / "data").exists()
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert output_files(project) == output_files(finished_by_two)


def output_files(project: Path) -> dict[str, bytes]:
    return {
        name: (project / "data" / folder / "demo" / name).read_bytes()
        for folder, name in (
            ("06_models", "model.safetensors"),
            ("07_model_output", "predictions.json"),
            ("07_model_output", "nbest.parquet"),
        )
    }


@pytest.mark.parametrize(("rank", "missing"), [(0, "the other machines"), (1, "machine 0")])
def test_machine_that_never_comes(
    project: Path, kedro: Kedro, runs: Runs, free_port: int, rank: int, missing: str
) -> None:
    params: dict[str, Any] = {
        "distributed.nodes": 2,
        "distributed.node_rank": rank,
        "distributed.rendezvous": f"127.0.0.1:{free_port}",
        "distributed.join_timeout_s": 3,
        "distributed.processes": 1,
    }
    done = kedro("train", params)
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert f"got no sign of {missing} within 3 s; expected 2 machines" in said
    assert "Traceback" not in said
    assert [run.info.status for run in runs()] == (["FAILED"] if rank == 0 else [])
