"""What a training run tells whoever watches it."""

import json
from typing import Any, Protocol


class Tracker(Protocol):
    """Takes metrics while they come."""

    @property
    def run_id(self) -> str | None:
        """MLflow's name for the run; None where it is not tracked."""
        ...

    def log_params(self, params: dict[str, Any]) -> None:
        """Records what a result depends on, nested sections as dotted names."""
        ...

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update.

        Args:
            metrics: Value by name.
            step: The update, counted from 1.
        """
        ...

    def set_tag(self, key: str, value: str) -> None:
        """Says something of the run to search by."""
        ...

    def supersedes(self, previous_run_id: str) -> None:
        """Says that this run carries on an earlier one, which was interrupted."""
        ...


class NullTracker:
    """Records nothing, for runs outside of tracking."""

    run_id: str | None = None

    def log_params(self, params: dict[str, Any]) -> None:
        """Forgets the parameters."""

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Forgets the values."""

    def set_tag(self, key: str, value: str) -> None:
        """Forgets the tag."""

    def supersedes(self, previous_run_id: str) -> None:
        """Forgets the earlier run."""


def flat_params(params: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Parameters as MLflow has them: texts, nested sections as dotted names."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flat_params(value, f"{name}.")
        else:
            flat[name] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat
