"""The experiment table: reported and measured scores, with confidence intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from roberta_squad_pipeline.common.arrays import Float64Array
from roberta_squad_pipeline.common.redaction import HIDDEN
from roberta_squad_pipeline.common.same_run import differences
from roberta_squad_pipeline.common.tables import table, without_formulas
from roberta_squad_pipeline.evaluation.ranking import Behind, behind_the_best
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean
from roberta_squad_pipeline.runs.comparison import MeasuredRun, lead_text
from roberta_squad_pipeline.runs.experiments import Experiment, Experiments, Reference, scaled
from roberta_squad_pipeline.runs.fingerprint import description, recipe, recipe_params
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.tracking.tracker import flat_params

SQUAD2_TRAINING_QUESTIONS = 130_319
"""The number of questions that makes an epoch for the published updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table; unknown values are None."""

    name: str
    runs: tuple[str, ...] = ()
    """Names of the measured runs, which differ only in their seeds."""
    trained_with: str = ""
    """The settings of these runs, where the row's are the published ones."""
    updates: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    layer_decay: float | None = None
    reported_best_f1: float | None = None
    mean: float | None = None
    """Measured best F1 in per cent, mean over seeds."""
    standard_deviation: float | None = None
    """Over seeds; None with fewer than two."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval over questions."""
    behind_best: float | None = None
    """Measured best F1 of the best row minus this one's."""
    within_noise: bool | None = None
    """Whether the difference may be chance, in a comparison of all rows at once."""
    differs: tuple[str, ...] = ()
    """Differences from the experiment because of which the runs are not in its row."""


def experiment_table(
    files: dict[str, dict[str, Any]],
    experiments: Experiments,
    expected: Mapping[str, Parameters],
    runs: Sequence[MeasuredRun],
) -> dict[str, Any]:
    """Builds the table of the runs on some data.

    Args:
        files: The record of the SQuAD files.
        experiments: The experiments of the table.
        expected: The parameters of each experiment here; its row has only runs with these.
        runs: The newest first.

    Returns:
        The table as `experiments_markdown`, as `experiments_csv` (a pandas frame) and as
        `experiments_figure` (Plotly).
    """
    described = {name: description(parameters, files) for name, parameters in expected.items()}
    measured, others = sort_out(runs, {name: recipe(one) for name, one in described.items()})
    rows = build_rows(experiments.rows, experiments.references, measured)
    settings = {name: flat_params(one) for name, one in described.items()}
    other_rows = build_other_rows(others, settings)
    signature = _signature(files, expected, measured, others)
    frame = pd.DataFrame([*rows, *other_rows])
    for column in ("runs", "differs"):
        frame[column] = frame[column].str.join("; ")
    return {
        "experiments_markdown": to_markdown(rows, other_rows, signature),
        "experiments_csv": without_formulas(frame),
        "experiments_figure": _figure(rows),
    }


def sort_out(
    runs: Sequence[MeasuredRun], recipes: Mapping[str, str]
) -> tuple[dict[str, list[MeasuredRun]], list[list[MeasuredRun]]]:
    """Groups runs by the experiment or recipe that they repeat.

    Args:
        runs: The newest first; of runs with the same recipe and seed the newest counts.
        recipes: The recipe of each experiment here, by name.

    Returns:
        The runs of each experiment, one per seed; and all other runs, grouped by recipe.
    """
    of_experiment: dict[str, dict[str, MeasuredRun]] = defaultdict(dict)
    others: dict[tuple[str, str], dict[str, MeasuredRun]] = defaultdict(dict)
    for run in runs:
        tags = run.run.tags
        name, repeated = tags["experiment"], tags["recipe"]
        agrees = recipes.get(name) == repeated
        group = of_experiment[name] if agrees else others[name, repeated]
        group.setdefault(tags["seed"], run)
    return (
        {name: list(group.values()) for name, group in of_experiment.items()},
        [list(group.values()) for group in others.values()],
    )


def build_rows(
    experiments: Mapping[str, Experiment],
    references: Sequence[Reference],
    measured: Mapping[str, Sequence[MeasuredRun]],
) -> list[Row]:
    """Builds the rows of the table.

    Args:
        experiments: All of them; the table has those with reported metrics or measured runs.
        references: Scores without experiments.
        measured: The runs of each experiment, one per seed.
    """
    behind = _behind(measured)
    rows = []
    for name, experiment in experiments.items():
        if not experiment.reported and name not in measured:
            continue
        questions = experiment.updates * experiment.batch_size
        row = Row(
            name=name,
            updates=experiment.updates,
            epochs=round(questions / SQUAD2_TRAINING_QUESTIONS, 2),
            batch_size=experiment.batch_size,
            lr=experiment.lr,
            layer_decay=experiment.layer_decay,
            reported_best_f1=experiment.reported.get("best_f1"),
        )
        if name in measured:
            row = _with_measured(row, measured[name], behind[name])
            row = replace(row, trained_with=_trained_with(measured[name][0]))
        rows.append(row)
    return rows + [
        Row(name=reference.name, reported_best_f1=reference.best_f1) for reference in references
    ]


def build_other_rows(
    others: Sequence[Sequence[MeasuredRun]], expected: Mapping[str, Mapping[str, str]]
) -> list[Row]:
    """Builds the rows of runs that repeat no experiment.

    Args:
        others: See `sort_out`.
        expected: The parameters of each experiment here, as MLflow records them.
    """
    rows = []
    for runs in others:
        first = runs[0]
        row = Row(
            name=", ".join(run.run.name for run in runs),
            updates=int(first.setting("updates")),
            batch_size=int(first.setting("batch_size")),
            lr=_number(first.setting("lr")),
            layer_decay=_number(first.setting("layer_decay")),
            differs=_differs(first, expected),
        )
        rows.append(_with_measured(row, runs))
    return rows


def _differs(run: MeasuredRun, rows: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    # An experiment in a file has a name of its own, and is on a row.
    named, row = run.run.tags["experiment"], run.run.params.get("experiment", "")
    expected = rows.get(named, rows.get(row))
    if expected is None:
        return ("none of the experiments",)
    # The values of conf/local are not recorded, so they are not compared.
    own = {k: v for k, v in recipe_params(run.run.params).items() if v != HIDDEN}
    found = differences(own, {k: v for k, v in recipe_params(expected).items() if k in own})
    return tuple(found) or (
        "settings that are not recorded"
        if named in rows
        else "nothing that is recorded but its name",
    )


def _trained_with(run: MeasuredRun) -> str:
    lr, decay = (_number(run.setting(name)) for name in ("lr", "layer_decay"))
    return (
        f"{run.setting('updates')} updates of {run.setting('batch_size')}"
        + (f", lr {lr:.1e}" if lr is not None else "")
        + (f", decay {decay:.2f}" if decay is not None else "")
    )


def _number(text: str) -> float | None:
    return float(text) if text not in {"", "None", HIDDEN} else None


def settings_of_its_own(parameters: Parameters, experiment: str) -> dict[str, str]:
    """Returns the settings that --params or conf/ changes from an experiment's own, scaled ones.

    Args:
        parameters: The parameters with which it is run.
        experiment: The name of its row.
    """
    table = parameters.experiments
    row = scaled(table.rows[experiment], parameters.scale)
    own = row.model_dump(exclude={"warmup_updates", "reported"}) | table.form.model_dump()
    here: dict[str, Any] = {}
    # No name is in two of these sections.
    for section in ("training", "features", "model", "inference"):
        here |= getattr(parameters, section).model_dump(include=own.keys())
    return {name: f"{here[name]}" for name, value in own.items() if here[name] != value}


def _with_measured(row: Row, runs: Sequence[MeasuredRun], behind: Behind | None = None) -> Row:
    f1: Float64Array = np.mean([run.f1 for run in runs], 0)
    low, high = interval_of_mean(f1, runs[0].passages)
    best_f1 = [run.best_f1 for run in runs]
    return replace(
        row,
        runs=tuple(run.run.name for run in runs),
        mean=float(np.mean(best_f1)),
        standard_deviation=float(np.std(best_f1, ddof=1)) if len(runs) > 1 else None,
        interval=(low, high),
        behind_best=behind.difference if behind else None,
        within_noise=behind.within_noise if behind else None,
    )


def _behind(measured: Mapping[str, Sequence[MeasuredRun]]) -> dict[str, Behind]:
    if not measured:
        return {}
    readers = [np.array([run.f1 for run in runs]) for runs in measured.values()]
    passages = next(iter(measured.values()))[0].passages
    return dict(zip(measured, behind_the_best(readers, passages), strict=True))


def _signature(
    files: Mapping[str, Mapping[str, Any]],
    expected: Mapping[str, Parameters],
    measured: Mapping[str, Sequence[MeasuredRun]],
    others: Sequence[Sequence[MeasuredRun]],
) -> str:
    """What the scores were measured on, and which settings differ from the rows' own."""
    runs = [run for group in [*measured.values(), *others] for run in group]
    signature = (
        f"{files['dev']['path']} (sha256 {files['dev']['sha256'][:12]}, {len(runs[0].f1)} "
        "questions), best F1 at the threshold that is best for each run"
    )
    given = {
        f"{name} {value}"
        for experiment in measured
        for name, value in settings_of_its_own(expected[experiment], experiment).items()
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


def _figure(rows: Sequence[Row]) -> go.Figure:
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


_MEASURED = ("measured best F1", "seeds", "95 % interval")


def to_markdown(rows: Sequence[Row], others: Sequence[Row], signature: str) -> str:
    """Writes the table in Markdown, and below it one of the runs that repeat no experiment.

    Args:
        rows: The rows of the table.
        others: The rows of the second table.
        signature: What the scores were measured on.
    """
    settings = ("steps", "epochs", "batch", "lr", "decay", "reported best F1")
    columns = ["experiment", *settings, "runs", "trained with", *_MEASURED, "behind the best"]
    text = f"{_table(columns, rows)}\n\nMeasured on {signature}.\n"
    if others:
        columns = ["runs", "steps", "batch", "lr", "decay", *_MEASURED, "not in the table for"]
        text += (
            "\nOther runs on the same questions, with the settings that they were trained with; "
            f"`kedro compare RUN RUN` compares them:\n\n{_table(columns, others)}\n"
        )
    return text


def _table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    cells = map(_cells, rows)
    return table(columns, ([of_row[column] for column in columns] for of_row in cells))


def _cells(row: Row) -> dict[str, str]:
    """A text per column of both tables; blank where a value is not known."""
    numbers = {
        "steps": (row.updates, "d"),
        "epochs": (row.epochs, ".2f"),
        "batch": (row.batch_size, "d"),
        "lr": (row.lr, ".1e"),
        "decay": (row.layer_decay, ".2f"),
        "reported best F1": (row.reported_best_f1, ".3f"),
        "measured best F1": (row.mean, ".2f"),
    }
    cells = {
        column: "" if value is None else format(value, form)
        for column, (value, form) in numbers.items()
    }
    if row.standard_deviation is not None:
        cells["measured best F1"] += f" ± {row.standard_deviation:.2f}"
    behind, noise = row.behind_best, bool(row.within_noise)
    return cells | {
        "experiment": row.name,
        "runs": ", ".join(row.runs),
        "trained with": row.trained_with,
        "seeds": str(len(row.runs) or ""),
        "95 % interval": "{:.1f} to {:.1f}".format(*row.interval) if row.interval else "",
        "behind the best": "" if behind is None else lead_text(behind, within_noise=noise),
        "not in the table for": "; ".join(row.differs),
    }
