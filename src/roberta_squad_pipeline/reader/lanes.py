"""Threads that each compute a part of the work, start to end, on a core of their own.

Torch's own threads share every single operation, and wait for each other after it in a busy loop.
On a machine that does something else as well, one of them is often put aside: the others then keep
the core that it waits for, and everything takes ten times as long
(benchmarks/results/busy_cpu_2026-11-26.md). Threads that wait once per update lose nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import TracebackType
from typing import Any, Self, TypeVar

import torch

Result = TypeVar("Result")


class Lanes:
    """Threads, among which those that torch would use for one operation are divided.

    With one lane the work is done where it is asked for, by all of torch's threads.

    Args:
        count: How many, at most as many as torch has threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._torch_threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.count > 1:
            self._pool = ThreadPoolExecutor(
                self.count,
                "lane",
                initializer=_compute_with,
                initargs=(self._torch_threads // self.count,),
            )
            all_begun = Barrier(self.count)
            list(self._pool.map(lambda _: all_begun.wait(), range(self.count)))
            # What a lane has set counts for every thread that is begun after it, such as a
            # server's.
            torch.set_num_threads(self._torch_threads)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """Works on each item, and gives the results in the order of the items.

        What torch keeps for each thread, such as the number format, has to be set inside `work`.

        Args:
            work: Done by one lane for each item.
            items: Its arguments; of several iterables, one of each.
        """
        return map(work, *items) if self._pool is None else self._pool.map(work, *items)

    def run(self, work: Callable[[], Result]) -> Result:
        """Does one piece of work in one lane, so that torch's threads have no part in it."""
        return work() if self._pool is None else self._pool.submit(work).result()


def _compute_with(threads: int) -> None:
    torch.set_num_threads(threads)
    # A thread takes torch's common number when it first asks for it, and keeps it from then on.
    torch.get_num_threads()


def lane_count(device: torch.device, pieces: int) -> int:
    """How many lanes a device has for this many pieces of work; a GPU has one."""
    return max(1, min(torch.get_num_threads(), pieces)) if device.type == "cpu" else 1


def even_lane_count(device: torch.device, windows: int) -> int:
    """The most lanes among which windows can be shared out evenly, several to each.

    Args:
        device: Where they are read.
        windows: How many there are.
    """
    most = lane_count(device, windows // _WINDOWS_OF_A_LANE)
    return max(lanes for lanes in range(1, most + 1) if windows % lanes == 0)


_WINDOWS_OF_A_LANE = 4
"""At least: lanes with fewer would wait for the one that has the longest window."""
