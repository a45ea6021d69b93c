"""Compares tracked runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.spreadsheet import without_formulas
from roberta_squad_pipeline.pipelines import SquadFiles
from roberta_squad_pipeline.runs.experiments import Experiments
from roberta_squad_pipeline.runs.fingerprint import description, recipe
from roberta_squad_pipeline.runs.parameters import Parameters, TrackingConfig
from roberta_squad_pipeline.tracking.tracker import flat_params

if TYPE_CHECKING:
    from roberta_squad_pipeline.runs.experiment_table import Row
    from roberta_squad_pipeline.runs.measured import MeasuredRun


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
        The table as `experiments_markdown`, as `experiments_csv` (a pandas frame) and as
        `experiments_figure` (Plotly).

    Raises:
        InputError: No run on this data was finished.
    """
    import pandas as pd

    from roberta_squad_pipeline.runs.experiment_table import (
        build_other_rows,
        build_rows,
        sort_out,
        to_markdown,
    )

    described = {
        name: description(parameters, squad_files) for name, parameters in expected_settings.items()
    }
    recipes = {name: recipe(one) for name, one in described.items()}
    measured, others = sort_out(_finished(squad_files, tracking), recipes)
    rows = build_rows(experiments.rows, experiments.references, measured)
    settings = {name: flat_params(one) for name, one in described.items()}
    other_rows = build_other_rows(others, settings)
    signature = _signature(squad_files, experiments, expected_settings, measured, others)
    frame = pd.DataFrame([*rows, *other_rows])
    for column in ("runs", "differs"):
        frame[column] = frame[column].str.join("; ")
    return {
        "experiments_markdown": to_markdown(rows, other_rows, signature),
        "experiments_csv": without_formulas(frame),
        "experiments_figure": _figure(rows),
    }


def _finished(files: SquadFiles, tracking: TrackingConfig) -> "list[MeasuredRun]":
    from roberta_squad_pipeline.runs.measured import load_measured
    from roberta_squad_pipeline.tracking.history import finished_runs

    project = Path.cwd()
    on_this_data = finished_runs(project, tracking.experiment, {"data": files["dev"]["sha256"]})
    runs = load_measured(project, [run for run in on_this_data if "recipe" in run.tags])
    if not runs:
        raise InputError(
            where=f"MLflow experiment {tracking.experiment}",
            got=f"no finished run on {files['dev']['path']}",
            expected="at least one whole run",
            remedy="Run one or all: kedro run, or kedro sweep.",
        )
    return runs


def _signature(
    files: SquadFiles,
    experiments: Experiments,
    expected: dict[str, Parameters],
    measured: "dict[str, list[MeasuredRun]]",
    others: "list[list[MeasuredRun]]",
) -> str:
    """What the scores were measured on, and which settings differ from the rows' own."""
    from roberta_squad_pipeline.runs.experiment_table import settings_of_its_own

    runs = [run for group in [*measured.values(), *others] for run in group]
    signature = (
        f"{files['dev']['path']} (sha256 {files['dev']['sha256'][:12]}, {len(runs[0].f1)} "
        "questions), best F1 at the threshold that is best for each run"
    )
    given = {
        f"{name} {value}"
        for experiment in measured
        for name, value in settings_of_its_own(
            experiments.rows[experiment], experiments.form, expected[experiment]
        ).items()
    }
    if given:
        signature += (
            "; trained not with the rows' own settings but, by --params or conf/, with "
            f"{', '.join(sorted(given))}"
        )
    selected = {r.run.tags["experiment"] for r in runs if r.run.tags.get("selected_on") == "dev"}
    if selected:
        signature += (
            "; scores on these very questions decided which update was the last or kept of "
            f"{', '.join(sorted(selected))}"
        )
    return signature


def _figure(rows: "list[Row]") -> Any:
    import plotly.graph_objects as go

    shown = [(row, row.mean, row.interval) for row in rows if row.mean and row.interval]
    names = [row.name for row, _, _ in shown]
    figure = go.Figure(
        [
            go.Bar(
                name="measured",
                x=names,
                y=[mean for _, mean, _ in shown],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [high - mean for _, mean, (_, high) in shown],
                    "arrayminus": [mean - low for _, mean, (low, _) in shown],
                },
            ),
            go.Scatter(
                name="reported (SQuAD 2.0, RoBERTa large)",
                x=names,
                y=[row.reported_best_f1 for row, _, _ in shown],
                mode="markers",
            ),
        ]
    )
    figure.update_layout(yaxis_title="best F1, per cent", legend={"orientation": "h"})
    return figure
