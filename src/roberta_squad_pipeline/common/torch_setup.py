"""What torch's libraries are told before they are loaded."""

import os
from collections.abc import MutableMapping
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Of oneDNN, and of the layer between it and torch."""
_KERNELS_IN_CACHE = "64"
"""More than a forward and backward pass over one batch needs. By default each cache keeps 1,024, at
up to a megabyte for two, and hardly two batches that lie end to end are of one size."""


def set_up_torch(environment: MutableMapping[str, str] = os.environ) -> None:
    """Gives torch as many threads as it may use cores, and small caches of kernels.

    It has to be before torch is imported. What a user has set stays.
    """
    for cache in _CACHES:
        environment.setdefault(cache, _KERNELS_IN_CACHE)
    cores = available_cores()
    if "OMP_NUM_THREADS" not in environment and cores < (os.cpu_count() or 1):
        environment["OMP_NUM_THREADS"] = str(cores)


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use: by its affinity, and by its container's quota.

    Args:
        cgroup: Where Linux shows the control group, of version 2 or 1.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return seen if quota is None else max(1, min(seen, int(quota)))


def _quota(cgroup: Path) -> float | None:
    """Cores' worth of time; None without a limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no control group, or "max"
        return None
