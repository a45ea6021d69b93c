"""Runs that were tracked before."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from roberta_squad_pipeline.tracking.store import connect


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended well."""

    run_id: str
    tags: dict[str, str]


def finished_runs(project: Path, experiment: str, tags: dict[str, str]) -> list[FinishedRun]:
    """Finds runs that are FINISHED and carry all the given tags.

    Args:
        project: The project's folder.
        experiment: MLflow's experiment.
        tags: What to look for.

    Returns:
        The newest first; none where there is no such experiment yet.
    """
    client = connect(project)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    query = " and ".join([*wanted, "attributes.status = 'FINISHED'"])
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [found.experiment_id], query, order_by=["start_time DESC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            break
    return [FinishedRun(r.info.run_id, r.data.tags) for r in runs]


def load_json(project: Path, run_id: str, artifact: str) -> Any:
    """Reads a JSON file that a run kept."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"  # a bar a file says nothing
    client = connect(project)
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run_id, artifact, folder)
        return json.loads(Path(path).read_text(encoding="utf-8"))
