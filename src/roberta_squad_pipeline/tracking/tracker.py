"""Where runs are recorded, and what one records while it goes on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a project's runs are recorded."""

    project: Path
    """The project's folder, which holds mlflow.db and mlruns/ unless there is another store."""
    experiment: str
    """Name of the MLflow experiment; created if it does not exist."""
    unsent: Path
    """Folder for what could not be sent yet."""


class Tracker:
    """Records parameters, metrics and tags of a run; this one, for untracked runs, drops them."""

    run_id: str | None = None
    """MLflow's id of the run; None where it is not tracked."""

    def log_params(self, params: dict[str, Any]) -> None:
        """Records what a result depends on, nested sections as dotted names."""

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        """Records values of one update.

        Args:
            metrics: Value by name.
            step: The update, counted from 1.
        """

    def set_tag(self, key: str, value: str) -> None:
        """Sets a tag by which the run can be searched for."""

    def supersedes(self, previous_run_id: str) -> None:
        """Records that this run continues an earlier one, which was interrupted."""


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
