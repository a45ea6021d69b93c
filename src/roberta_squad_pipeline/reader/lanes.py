"""Threads that each do a part of the work from start to end, on a core of their own.

Torch's own threads divide every operation, and then wait for each other in a busy loop. If a
machine has other work, too, one of them is often suspended. The others then keep the core that it
waits for, and everything takes ten times as long (benchmarks/results/busy_cpu_2026-11-26.md).
Threads that wait once per update lose nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Self, TypeVar

import torch

Result = TypeVar("Result")


class Lanes:
    """Threads that divide torch's threads among themselves.

    With one lane, the calling thread does the work, with all of torch's threads.

    Args:
        count: Number of lanes, at most that of torch's threads.
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
            # A lane's setting is the default of every thread that starts later, such as a
            # server's.
            torch.set_num_threads(self._torch_threads)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """Does the work for each item, and returns the results in the order of the items.

        Torch's settings per thread, such as the number format, have to be made inside `work`.

        Args:
            work: Called in one lane per item.
            items: Its arguments, one iterable for each.
        """
        return map(work, *items) if self._pool is None else self._pool.map(work, *items)

    def run(self, work: Callable[[], Result]) -> Result:
        """Does one piece of work in one lane, without the other threads of torch."""
        return work() if self._pool is None else self._pool.submit(work).result()


def _compute_with(threads: int) -> None:
    torch.set_num_threads(threads)
    # A thread takes the common number when it first asks for it, and then keeps it.
    torch.get_num_threads()


def lane_count(device: torch.device, pieces: int) -> int:
    """Number of lanes on a device for this many pieces of work; one on a GPU."""
    return max(1, min(torch.get_num_threads(), pieces)) if device.type == "cpu" else 1


def even_lane_count(device: torch.device, windows: int) -> int:
    """The most lanes among which windows can be divided evenly, with several for each.

    Args:
        device: The device that reads them.
        windows: Number of windows.
    """
    most = lane_count(device, windows // _WINDOWS_OF_A_LANE)
    return max(lanes for lanes in range(1, most + 1) if windows % lanes == 0)


_WINDOWS_OF_A_LANE = 4
"""The fewest: lanes with less would wait for the one that has the longest window."""
