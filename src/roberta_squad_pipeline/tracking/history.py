"""Runs that were tracked before."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Run

from roberta_squad_pipeline.tracking.store import connected

if TYPE_CHECKING:
    import pandas as pd

_QUESTIONS = "questions.parquet"
"""The artifact that the catalog's `questions` becomes."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended well."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]


def finished_runs(project: Path, experiment: str, tags: dict[str, str]) -> list[FinishedRun]:
    """Finds runs that are FINISHED and carry all the given tags.

    Args:
        project: The project's folder.
        experiment: MLflow's experiment.
        tags: What to look for.

    Returns:
        The newest first; none where there is no such experiment yet.
    """
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    query = " and ".join([*wanted, "attributes.status = 'FINISHED'"])
    runs: list[Run] = []
    with connected(project) as client:
        found = client.get_experiment_by_name(experiment)
        token = None
        while found is not None:
            page = client.search_runs(
                [found.experiment_id], query, order_by=["start_time DESC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                break
    return [FinishedRun(r.info.run_id, r.info.run_name, r.data.tags, r.data.params) for r in runs]


def runs_called(project: Path, experiment: str, name: str) -> list[FinishedRun]:
    """Finds finished runs by name or MLflow's id, the newest first.

    Args:
        project: The project's folder.
        experiment: MLflow's experiment.
        name: Of the run.
    """
    return [r for r in finished_runs(project, experiment, {}) if name in {r.name, r.run_id}]


def load_questions(project: Path, run_id: str) -> "pd.DataFrame | None":
    """The table of questions that a run kept (see `judged`); None where it kept none."""
    import pandas as pd

    with connected(project) as client, tempfile.TemporaryDirectory() as folder:
        if all(artifact.path != _QUESTIONS for artifact in client.list_artifacts(run_id)):
            return None
        return pd.read_parquet(client.download_artifacts(run_id, _QUESTIONS, folder))
