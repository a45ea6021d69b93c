"""What torch's libraries are told.

Oracle: the formats of Linux's control groups.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.torch_setup import available_cores, set_up_torch

SEEN = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_what_a_user_set_stays() -> None:
    environment = {
        "OMP_NUM_THREADS": "3",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1024",
        "LRU_CACHE_CAPACITY": "7",
    }
    before = dict(environment)
    set_up_torch(environment)
    assert environment == before
    untouched: dict[str, str] = {}
    set_up_torch(untouched)
    assert untouched.keys() - {"OMP_NUM_THREADS"} == before.keys() - {"OMP_NUM_THREADS"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, SEEN),
        ({"cpu.max": "max 100000\n"}, SEEN),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000000 100000\n"}, SEEN),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, SEEN),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cores_are_those_of_the_containers_quota(
    files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == expected


def test_it_is_set_before_torch_is_loaded() -> None:
    code = "import sys, roberta_squad_pipeline; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
