"""Starts the processes of a job with torch's elastic launcher, and watches over them."""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.distributed.stopping import StopRequest

Event = dict[str, Any]


JOB_FILE = "job.json"
JOINED_FILE = "joined"
EVENTS_FILE = "events.jsonl"
STOP_FILE = "stop"
ERROR_FILE = "error.json"
DEATH_FILE = "death"
"""Which process of this machine died last, and how."""

_START = "roberta_squad_pipeline.distributed.start"
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_DIE = 5
_LOOPBACK = "127.0.0.1"


def local_processes(config: DistributedConfig) -> int:
    """Processes on this machine.

    Raises:
        InputError: There are GPUs, but fewer than processes were asked for.
    """
    gpus = torch.cuda.device_count()
    if config.processes is None:
        return max(1, gpus)
    if 0 < gpus < config.processes:
        raise InputError(
            where="distributed.processes",
            got=f"{config.processes} processes for {gpus} visible GPUs",
            expected="at most one process per GPU",
            remedy=f"Run with --params distributed.processes={gpus}, or see CUDA_VISIBLE_DEVICES.",
        )
    return config.processes


@contextmanager
def meeting_point(config: DistributedConfig) -> Iterator[None]:
    """Keeps machine 0's rendezvous store open from a run's first job to its last.

    A machine that has finished one job looks for the next at once. If each job had a store of its
    own, the machine might still join that of the last job, just before it closes.

    Raises:
        InputError: The rendezvous host is not this machine, or its port is taken.
    """
    host, _, port = str(config.rendezvous).rpartition(":")
    own_address(str(config.rendezvous))
    wait = timedelta(seconds=config.join_timeout_s)
    try:
        # The launcher asks for a store at the same port and gets this one.
        store = TCPStore(host, int(port), is_master=True, multi_tenant=True, timeout=wait)
    except RuntimeError as error:
        raise InputError(
            where=f"distributed.rendezvous={config.rendezvous}",
            got=f"no port to listen on ({str(error).splitlines()[0]})",
            expected="host:port of this machine, which is machine 0, and a port that is free",
            remedy="Give another port, the same on every machine, or correct "
            "distributed.node_rank.",
        ) from error
    try:
        yield
    finally:
        del store


def launch(
    module: str,
    job: StrictModel | None,
    config: DistributedConfig,
    *,
    name: str,
    on_event: Callable[[Event], None] = lambda _: None,
    stop: StopRequest,
) -> None:
    """Runs a worker's module (see `work`) in every process of this machine until all are done.

    The launcher runs in a separate thread: in the main thread it would replace the signal handlers
    and not restore them. A temporary folder holds the messages between this process and those.

    Args:
        module: What each process runs.
        job: What they are to do; None on a machine that helps machine 0.
        config: How many processes, and where.
        name: Name of the job: the same on all machines, and different for each job.
        on_event: Called in this thread with each event of rank 0.
        stop: Passed on to the processes, which then end by themselves.

    Raises:
        InputError: A machine did not join in time, or a process raised one.
        TrainingError: Processes died more often than they may be restarted, or a process raised
            one.
    """
    failed: list[BaseException] = []
    began = time.monotonic()
    address = _LOOPBACK if config.nodes == 1 else own_address(str(config.rendezvous))
    with TemporaryDirectory() as temp:
        folder = Path(temp)
        if job is not None:
            (folder / JOB_FILE).write_text(job.model_dump_json())

        def run() -> None:
            told = (temp, str(os.getpid()), str(config.node_rank), address)
            try:
                elastic_launch(_launch_config(config, name, address, folder), sys.executable)(
                    "-u", "-m", _START, module, *told
                )
            except BaseException as error:
                failed.append(error)

        _prepare_torch(_Deaths(folder / DEATH_FILE))
        agent = threading.Thread(target=run, name="elastic launcher", daemon=True)
        agent.start()
        _watch(agent, folder, on_event, stop)
        if (folder / ERROR_FILE).exists():
            raise read_error(folder / ERROR_FILE)
    if failed:
        waited_s = time.monotonic() - began
        raise _explained(failed[0], config, waited_s=waited_s) from failed[0]


def _watch(
    agent: threading.Thread, folder: Path, on_event: Callable[[Event], None], stop: StopRequest
) -> None:
    events = _tail(folder / EVENTS_FILE)
    alive = True
    while alive:
        agent.join(_SECONDS_BETWEEN_LOOKS)
        # Asked before the events are read, so that none of the last is missed.
        alive = agent.is_alive()
        if stop.made:
            (folder / STOP_FILE).touch()
            if not (folder / JOINED_FILE).exists():
                stop.obey()
        for event in next(events):
            on_event(event)


def _launch_config(
    config: DistributedConfig, name: str, address: str, folder: Path
) -> LaunchConfig:
    # torch's store listens on every network interface, and trusts whoever connects. Processes of
    # one machine meet in a file instead, which only this user can read.
    alone = config.nodes == 1
    return LaunchConfig(
        min_nodes=config.nodes,
        max_nodes=config.nodes,
        nproc_per_node=local_processes(config),
        run_id=name,
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "rendezvous") if alone else str(config.rendezvous),
        rdzv_configs={
            "store_type": "file" if alone else "tcp",
            "is_host": config.node_rank == 0,
            # The backend ignores "timeout": these two say how long a machine waits for the
            # others, and how long for machine 0 to be there at all.
            "join_timeout": config.join_timeout_s,
            "read_timeout": config.join_timeout_s,
        },
        max_restarts=config.max_restarts,
        local_addr=address,
        shutdown_timeout=_SECONDS_TO_DIE,
    )


def own_address(rendezvous: str) -> str:
    """The address under which the other machines reach this one.

    Raises:
        InputError: The rendezvous host has no address, or none that can be reached.
    """
    host, _, port = rendezvous.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_DGRAM
        )[0]
        # Connecting a datagram socket sends nothing, and finds the way there.
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise InputError(
            where=f"distributed.rendezvous={rendezvous}",
            got=f"no way there ({error.strerror})",
            expected="host:port of machine 0",
            remedy="Give the address or name of machine 0 that this machine reaches.",
        ) from error


def _tail(path: Path) -> Iterator[list[Event]]:
    """Yields the whole lines that were added since the last time."""
    read = 0
    while True:
        lines: list[Event] = []
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(read)
                for line in stream:
                    if line.endswith(b"\n"):
                        read += len(line)
                        # A process that is killed may leave half an event, as a line of its own.
                        with suppress(json.JSONDecodeError):
                            lines.append(json.loads(line))
        yield lines


class _Deaths(logging.Handler):
    """Learns from the log of torch's launcher which process died; it has no other way to tell."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("failed (exitcode: %s) local_rank: %s (pid: %s)"):
            exitcode, local_rank, *_ = cast("tuple[int, int]", record.args)
            self._file.write_text(_death(local_rank, exitcode))


def _death(rank: int, exitcode: int) -> str:
    how = signal.Signals(-exitcode).name if exitcode < 0 else f"exit code {exitcode}"
    return f"process {rank} died ({how})"


def _prepare_torch(deaths: logging.Handler) -> None:
    # Otherwise processes that are started again find the addresses of the dead ones in the store
    # that they share with the launcher.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    # The launcher warns that it cannot handle signals in a thread, which is intended here, and
    # prints a long report of each failure; `_explained` says the same in fewer words.
    for name in ("agent.server.api", "rendezvous"):
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    processes = logging.getLogger("torch.distributed.elastic.multiprocessing.api")
    processes.propagate = False
    processes.handlers = [deaths]


def _explained(
    error: BaseException, config: DistributedConfig, *, waited_s: float
) -> BaseException:
    if isinstance(error, ChildFailedError):
        rank, failure = error.get_first_failure()
        return TrainingError(
            f"{_death(rank, failure.exitcode)}, "
            f"and the processes were restarted {config.max_restarts} times already, which is all "
            "that distributed.max_restarts allows. Its own message stands above. The same command "
            "goes on from the last checkpoint."
        )
    if isinstance(error, RendezvousError):
        missing = "the other machines" if config.node_rank == 0 else "machine 0"
        got = f"no sign of {missing} within {config.join_timeout_s} s"
        if waited_s < config.join_timeout_s:
            got = f"a connection to {missing} that broke after {waited_s:.0f} s"
        return InputError(
            where=f"distributed.rendezvous={config.rendezvous}",
            got=got,
            expected=f"{config.nodes} machines, each with a kedro run of the same --params but "
            f"its own distributed.node_rank (0 to {config.nodes - 1})",
            remedy="Start them within distributed.join_timeout_s of each other, and check that no "
            "firewall blocks that port.",
        )
    return error


def write_error(error: InputError | TrainingError, path: Path) -> None:
    """Writes an error for the process that launched this one."""
    fields = vars(error) if isinstance(error, InputError) else {"message": str(error)}
    path.write_text(json.dumps(fields), encoding="utf-8")


def read_error(path: Path) -> InputError | TrainingError:
    """Reads what `write_error` wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return TrainingError(fields["message"]) if "message" in fields else InputError(**fields)
