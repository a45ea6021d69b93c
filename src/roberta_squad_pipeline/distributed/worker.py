"""What each process of a job does first and last."""

import gc
import hashlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch.distributed import FileStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.common.torch_setup import available_cores
from roberta_squad_pipeline.distributed.launch import (
    ERROR_FILE,
    EVENTS_FILE,
    JOB_FILE,
    JOINED_FILE,
    STOP_FILE,
    write_error,
)
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest, stop_requests

_PIECE_BYTES = 2**26
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_BE_SECOND = 1.0
_PEERS_MAY_BE_BUSY_FOR = timedelta(minutes=30)


_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a job, and its way to tell its launcher something."""

    processes: Processes
    job: str
    """The job as JSON, from the launcher of rank 0."""
    folder: Path
    """Where this process and its launcher leave each other files."""
    stop: StopRequest
    nodes: int
    """The number of machines."""
    restarts: int
    """How often the processes of this machine were restarted."""

    def share(self, path: Path) -> Path:
        """A file or folder of machine 0: itself there, and a copy of it on every other machine.

        The other machines need no data of their own. Every process has to call it.
        """
        processes = self.processes
        if self.nodes == 1:
            return path
        node, local_rank = divmod(processes.rank, processes.count // self.nodes)
        name = hashlib.sha256(str(path).encode()).hexdigest()
        copy = path if node == 0 else self.folder / name
        inside = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        told = json.dumps([str(each.relative_to(path)) for each in inside]).encode()
        for name in json.loads(processes.broadcast_bytes(told)):
            with ExitStack() as opened:
                source = target = None
                if processes.first:
                    source = opened.enter_context((path / name).open("rb"))
                elif node > 0 and local_rank == 0:
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    target = opened.enter_context((copy / name).open("wb"))
                while piece := processes.broadcast_bytes(source and source.read(_PIECE_BYTES)):
                    if target:
                        target.write(piece)
        # No process may read what another is still writing.
        processes.any(False)
        return copy

    def tell(self, event: dict[str, Any]) -> None:
        """Tells the launcher of an event; only rank 0 does, the others say nothing."""
        if self.processes.first:
            with (self.folder / EVENTS_FILE).open("a", encoding="utf-8") as stream:
                # A process that was killed while it wrote has left a line without an end.
                stream.write(f"\n{json.dumps(event)}\n")


def work(do: Callable[[Worker], None]) -> None:
    """The main function of a worker module: joins the others, does the work, leaves.

    The module's arguments are the launcher's folder and process id, the number of this machine, and
    its address.
    """
    # What was imported stays until the end.
    gc.freeze()
    gc.enable()
    told, launcher, machine, address = sys.argv[1:]
    folder, node_rank = Path(told), int(machine)
    threading.Thread(target=_die_with, args=(int(launcher),), daemon=True).start()
    try:
        with (
            stop_requests(folder / STOP_FILE) as stop,
            _joined(folder, node_rank, address, stop) as worker,
        ):
            (folder / JOINED_FILE).touch()
            if os.environ["LOCAL_RANK"] == "0":
                # Left by processes that were started before these.
                (folder / ERROR_FILE).unlink(missing_ok=True)
            try:
                do(worker)
            except TrainingError as error:
                # All processes have failed for the same reason. The launcher restarts those that
                # fail, which would not help here.
                if worker.processes.first or node_rank > 0:
                    write_error(error, folder / ERROR_FILE)
    except InputError as error:
        write_error(error, folder / ERROR_FILE)
        raise SystemExit(1) from error
    except RuntimeError as error:
        if not _lost_a_peer(error):
            raise
        # The process that died has its own message; here there is nothing to look for.
        _logger.warning("a process that this one works with is gone (%s)", type(error).__name__)
        # So that the launcher sees first which one died.
        time.sleep(_SECONDS_TO_BE_SECOND)
        raise SystemExit(1) from error


def _lost_a_peer(error: RuntimeError) -> bool:
    # gloo has no exception of its own.
    return isinstance(error, dist.DistBackendError) or "gloo" in str(error).lower()


@contextmanager
def _joined(folder: Path, node_rank: int, address: str, stop: StopRequest) -> Iterator[Worker]:
    local_rank, local_count = _number("LOCAL_RANK"), _number("LOCAL_WORLD_SIZE")
    count, restarts = _number("WORLD_SIZE"), _number("TORCHELASTIC_RESTART_COUNT")
    if count % local_count or node_rank >= count // local_count:
        raise InputError(
            where="distributed.processes",
            got=f"{local_count} processes on machine {node_rank}, {count} in all",
            expected="the same number on each machine",
            remedy="Set distributed.processes on each.",
        )
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        # As many threads as cores on each process would make them wait for each other.
        torch.set_num_threads(max(1, available_cores() // local_count))
    if interface := _interface(address):
        # Otherwise gloo takes the one of this machine's host name, which may be any.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        if count == local_count:
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    if count == local_count:
        store: Store = FileStore(str(folder / f"processes-{restarts}"), count)
    else:
        store, _, _ = next(rendezvous("env://"))
    # torch's launcher assigns ranks in any order, but machine 0 has to write the outputs.
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        store=store,
        rank=node_rank * local_count + local_rank,
        world_size=count,
        timeout=_PEERS_MAY_BE_BUSY_FOR,
        device_id=device if gpu else None,
    )
    # Beside NCCL's group, so that messages between CPUs do not queue up on the GPU's stream.
    control = dist.new_group(backend="gloo", timeout=_PEERS_MAY_BE_BUSY_FOR)
    processes = Processes(dist.get_rank(), count, device, control)
    logging.basicConfig(
        level=logging.INFO if processes.first else logging.ERROR,
        format="%(levelname)s %(message)s",
    )
    given = (folder / JOB_FILE).read_bytes() if processes.first else None
    # Each machine was started by a command of its own; the job of machine 0 counts.
    job = processes.broadcast_bytes(given).decode()
    yield Worker(processes, job, folder, stop, count // local_count, restarts)
    # Not after an error: this could wait for peers that wait for this process.
    dist.destroy_process_group()


def _number(variable: str) -> int:
    return int(os.environ[variable])


def _interface(address: str) -> str | None:
    """Name of the network interface with an address; None where it is not found."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return str(name)
    return None


def _die_with(launcher: int) -> None:
    """Ends this process soon after its launcher, however that ended."""
    while os.getppid() == launcher:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
