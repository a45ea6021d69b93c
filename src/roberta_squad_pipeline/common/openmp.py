"""As many threads for torch as its container may run."""

import os
from collections.abc import MutableMapping
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def set_up_openmp(environment: MutableMapping[str, str] = os.environ) -> None:
    """Gives torch as many threads as it may use cores, where that is fewer than it sees.

    It has to be before torch is imported. What a user has set stays.
    """
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
