"""Lanes.

Oracle: the same work done without them; what torch says of its threads.
"""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.reader.dropout import draw_mask, seed_thread
from roberta_squad_pipeline.reader.lanes import Lanes, even_lane_count, lane_count

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def six_threads() -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(usual)


def test_results_come_in_the_order_of_the_items() -> None:
    """Two lanes that wait for each other: both are at work at once."""
    both = threading.Barrier(2, timeout=30)

    def work(first: int, second: int) -> tuple[str, int, int]:
        both.wait()
        return threading.current_thread().name, first * second, torch.get_num_threads()

    with Lanes(2) as lanes:
        found = list(lanes.map(work, [1, 2, 3, 4], [5, 6, 7, 8]))
    assert [product for _, product, _ in found] == [5, 12, 21, 32]
    assert {threads for *_, threads in found} == {3}
    assert len({name for name, *_ in found}) == 2


def test_other_threads_keep_torchs_threads() -> None:
    """Also those that are begun meanwhile, as a server's are."""

    def seen_by_another() -> int:
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return seen[0]

    with Lanes(3) as lanes:
        assert lanes.run(torch.get_num_threads) == 2
        assert torch.get_num_threads() == seen_by_another() == 6
        assert lanes.run(torch.get_num_threads) == 2
    assert torch.get_num_threads() == seen_by_another() == 6


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_lane_is_the_callers(count: int) -> None:
    def fail(item: int) -> int:
        raise ValueError(f"item {item}")

    with Lanes(count) as lanes, pytest.raises(ValueError, match="item 1"):
        list(lanes.map(fail, [1, 2]))


def test_one_lane_is_the_thread_that_asks() -> None:
    with Lanes(1) as lanes:
        assert lanes.run(threading.current_thread) is threading.current_thread()
        assert list(lanes.map(lambda _: torch.get_num_threads(), [0])) == [6]


def test_windows_are_shared_out_evenly_and_several_to_each() -> None:
    for windows in range(1, 100):
        lanes = even_lane_count(CPU, windows)
        fair = [n for n in range(1, 7) if windows % n == 0 and (n == 1 or windows // n >= 4)]
        assert lanes == max(fair), windows


def test_a_gpu_has_one_lane_and_few_pieces_have_few() -> None:
    assert lane_count(torch.device("meta"), 100) == 1
    assert [lane_count(CPU, pieces) for pieces in (0, 1, 4, 100)] == [1, 1, 4, 6]


def test_random_numbers_of_a_lane_are_its_own() -> None:
    """Whatever other threads draw meanwhile."""

    def draw(seed: int) -> IntArray:
        seed_thread(seed)
        return np.concatenate([draw_mask(100, 0.5)[0].numpy() for _ in range(50)])

    with Lanes(3) as lanes:
        once = list(lanes.map(draw, range(6)))
    torch.manual_seed(99)
    with Lanes(2) as lanes:
        again = list(lanes.map(draw, range(6)))
    assert all(np.array_equal(one, other) for one, other in zip(once, again, strict=True))
    assert len({one.tobytes() for one in once}) == 6
