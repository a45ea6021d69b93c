"""Searches runs that were tracked earlier."""

import tempfile
from dataclasses import dataclass

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD

from roberta_squad_pipeline.tracking.store import connected
from roberta_squad_pipeline.tracking.tracker import Journal

_QUESTIONS = "questions.parquet"
"""Name of the catalog's `questions` as an artifact."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run with the status FINISHED."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    model_id: str | None = None
    """MLflow's id of its model; None if it made none."""


def finished_runs(journal: Journal, tags: dict[str, str]) -> list[FinishedRun]:
    """Finds finished runs that have all of these tags.

    Args:
        journal: Where they are recorded.
        tags: By name.

    Returns:
        The newest first; none if the experiment does not exist yet.
    """
    with connected(journal.project) as client:
        runs = search(client, journal.experiment, tags, status="FINISHED")
    return [
        FinishedRun(
            run.info.run_id, run.info.run_name, run.data.tags, run.data.params, _model_of(run)
        )
        for run in runs
    ]


def _model_of(run: Run) -> str | None:
    models = run.outputs.model_outputs if run.outputs else []
    return str(models[0].model_id) if models else None


def search(
    client: MlflowClient, experiment: str, tags: dict[str, str], **attributes: str
) -> list[Run]:
    """Finds runs that have all of these tags and attributes, the newest first."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    wanted = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    wanted += [f"attributes.{key} = '{value}'" for key, value in attributes.items()]
    return client.search_runs(
        [found.experiment_id],
        " and ".join(wanted),
        max_results=SEARCH_MAX_RESULTS_THRESHOLD,
        order_by=["start_time DESC"],
    )


def load_questions(journal: Journal, run_id: str) -> pd.DataFrame | None:
    """Loads the table of questions of a run (see `judged`); None if it has none."""
    with connected(journal.project) as client, tempfile.TemporaryDirectory() as folder:
        if all(artifact.path != _QUESTIONS for artifact in client.list_artifacts(run_id)):
            return None
        return pd.read_parquet(client.download_artifacts(run_id, _QUESTIONS, folder))
