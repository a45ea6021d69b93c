"""Torch's threads wait briefly, unless the user says otherwise, and are no more than may run.

Oracle: libgomp's documented variables, and the formats of Linux's control groups.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.openmp import available_cores, set_up_openmp

SEEN = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_threads_wait_briefly_by_default() -> None:
    environment: dict[str, str] = {}
    set_up_openmp(environment)
    assert 0 < int(environment["GOMP_SPINCOUNT"]) < 300_000


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_a_user_set_stays(own: dict[str, str]) -> None:
    environment = own | {"OMP_NUM_THREADS": "3"}
    set_up_openmp(environment)
    assert environment == own | {"OMP_NUM_THREADS": "3"}


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
    code = (
        "import sys, os, roberta_squad_pipeline; "
        "print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    loaded, spin = done.stdout.split()
    assert loaded == "False"
    assert int(spin) > 0
