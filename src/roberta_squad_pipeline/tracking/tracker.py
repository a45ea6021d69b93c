"""What a training run tells whoever watches it."""

from typing import Protocol


class Tracker(Protocol):
    """Takes metrics while they come."""

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update.

        Args:
            metrics: Value by name.
            step: The update, counted from 1.
        """
        ...


class NullTracker:
    """Records nothing, for runs outside of tracking."""

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Forgets the values."""
