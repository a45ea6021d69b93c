"""Compares tracked runs."""

from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.pipelines import SquadFiles
from roberta_squad_pipeline.runs.experiments import Experiments
from roberta_squad_pipeline.runs.parameters import Parameters, TrackingConfig


def compare_experiments(
    squad_files: SquadFiles,
    experiments: Experiments,
    tracking: TrackingConfig,
    expected_settings: dict[str, Parameters],
) -> dict[str, Any]:
    """Builds the experiment table from the finished runs on this data.

    Args:
        squad_files: The record of the SQuAD files.
        experiments: The experiments of the table.
        tracking: Where runs are recorded.
        expected_settings: The parameters of each experiment here; its row has only runs with these.

    Returns:
        See `experiment_table`.

    Raises:
        InputError: No run on this data was finished.
    """
    from roberta_squad_pipeline.runs.comparison import load_measured
    from roberta_squad_pipeline.runs.experiment_table import experiment_table
    from roberta_squad_pipeline.tracking.store import finished_runs

    journal, dev = tracking.journal(Path.cwd()), squad_files["dev"]
    on_this_data = finished_runs(journal, {"data": dev["sha256"]})
    runs = load_measured(journal, [run for run in on_this_data if "recipe" in run.tags])
    if not runs:
        raise InputError(
            where=f"MLflow experiment {tracking.experiment}",
            got=f"no finished run on {dev['path']}",
            expected="at least one whole run",
            remedy="Run one or all: kedro run, or kedro sweep.",
        )
    return experiment_table(squad_files, experiments, expected_settings, runs)
