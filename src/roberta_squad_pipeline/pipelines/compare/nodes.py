"""Puts tracked runs side by side."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.experiments import Experiments
from roberta_squad_pipeline.runs.parameters import DataConfig, TrackingConfig

if TYPE_CHECKING:
    from roberta_squad_pipeline.runs.comparison import Measured, Row
    from roberta_squad_pipeline.tracking.history import FinishedRun


def compare_experiments(
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    experiments: Experiments,
    tracking: TrackingConfig,
) -> dict[str, Any]:
    """Builds the table from the newest finished run of each experiment and seed on this data.

    Returns:
        `markdown`, `rows` (a pandas frame) and `figure` (Plotly).

    Raises:
        InputError: No run on this data was finished.
    """
    import pandas as pd

    from roberta_squad_pipeline.runs.comparison import build_rows, to_markdown

    runs = _newest_runs(files, tracking)
    measured = _measured(runs, files, data)
    if not measured:
        raise InputError(
            where=f"MLflow experiment {tracking.experiment}",
            got=f"no finished run on {files['dev']['path']}",
            expected="at least one whole run",
            remedy="Run one or all: kedro run, or kedro sweep.",
        )
    rows = build_rows(experiments.rows, experiments.references, measured)
    questions = len(next(iter(measured.values())).question_f1)
    signature = (
        f"{files['dev']['path']} (sha256 {files['dev']['sha256'][:12]}, {questions} questions), "
        "best F1 at the threshold that is best for each run"
    )
    selected = {run.tags["experiment"] for run in runs if run.tags.get("selected_on") == "dev"}
    if selected:
        signature += (
            f"; scores on these very questions decided which update was the last or kept of "
            f"{', '.join(sorted(selected))}"
        )
    return {
        "markdown": to_markdown(rows, signature),
        "rows": pd.DataFrame(rows),
        "figure": _figure(rows),
    }


def _newest_runs(files: dict[str, dict[str, Any]], tracking: TrackingConfig) -> "list[FinishedRun]":
    """The newest finished run of each experiment and seed on this data."""
    from roberta_squad_pipeline.tracking.history import finished_runs

    newest: dict[tuple[str, str], FinishedRun] = {}
    data = {"data": files["dev"]["sha256"]}
    for run in finished_runs(Path.cwd(), tracking.experiment, data):
        newest.setdefault((run.tags["experiment"], run.tags["seed"]), run)
    return list(newest.values())


def _measured(
    runs: "list[FinishedRun]", files: dict[str, dict[str, Any]], data: DataConfig
) -> dict[str, "Measured"]:
    import numpy as np

    from roberta_squad_pipeline.evaluation.scoring import score_questions, scores_in_order
    from roberta_squad_pipeline.evaluation.uncertainty import scores_at_best
    from roberta_squad_pipeline.runs.comparison import Measured
    from roberta_squad_pipeline.squad.dataset import read_squad
    from roberta_squad_pipeline.tracking.history import load_json

    project = Path.cwd()
    gold = read_squad(Path(files["dev"]["path"]), on_misaligned=data.on_misaligned).gold
    scores = defaultdict(list)
    for run in runs:
        predictions, odds, metrics = (
            load_json(project, run.run_id, f"{name}.json")
            for name in ("predictions", "null_odds", "metrics")
        )
        of_questions = score_questions(gold, predictions)
        in_order = scores_in_order(of_questions.ids, odds)
        f1 = scores_at_best(of_questions, of_questions.f1, in_order)
        scores[run.tags["experiment"]].append((metrics["best_f1"], f1))
    return {
        name: Measured(tuple(best for best, _ in of_seeds), np.mean([f1 for _, f1 in of_seeds], 0))
        for name, of_seeds in scores.items()
    }


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
