"""The experiment table: reported beside measured, with how far the measured can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roberta_squad_pipeline.common.arrays import Float64Array
from roberta_squad_pipeline.common.markdown import table
from roberta_squad_pipeline.evaluation.uncertainty import bootstrap_interval
from roberta_squad_pipeline.runs.experiments import Experiment, Reference

SQUAD2_TRAINING_QUESTIONS = 130_319
"""Of which the published updates make epochs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All finished runs of one experiment."""

    best_f1: tuple[float, ...]
    """In per cent, one per seed."""
    question_f1: Float64Array
    """Mean over seeds of what each question scores at its run's best threshold, 0 to 1.
    Shape: (questions,)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table; what is not known is None."""

    name: str
    updates: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    layer_decay: float | None = None
    reported_best_f1: float | None = None
    seeds: int = 0
    mean: float | None = None
    """Measured best F1 in per cent, mean over seeds."""
    standard_deviation: float | None = None
    """Over seeds; None with fewer than two."""
    interval: tuple[float, float] | None = None
    """95 % over questions."""
    behind_best: float | None = None
    """Measured best F1 of the best row less this one's."""
    within_noise: bool | None = None
    """Whether that difference's 95 % interval over questions holds zero."""


def build_rows(
    experiments: Mapping[str, Experiment],
    references: Sequence[Reference],
    measured: Mapping[str, Measured],
) -> list[Row]:
    """Puts the table together.

    Args:
        experiments: Those with reported metrics stand in the table, and all that were measured.
        references: Reported only.
        measured: By experiment.
    """
    best = max(measured, key=lambda name: float(measured[name].question_f1.mean()), default=None)
    rows = []
    for name, experiment in experiments.items():
        if experiment.reported or name in measured:
            row = _reported(name, experiment)
            if best is not None and name in measured:
                row = _with_measured(row, measured[name], measured[best])
            rows.append(row)
    return rows + [
        Row(name=reference.name, reported_best_f1=reference.best_f1) for reference in references
    ]


def _reported(name: str, experiment: Experiment) -> Row:
    return Row(
        name=name,
        updates=experiment.updates,
        epochs=round(experiment.updates * experiment.batch_size / SQUAD2_TRAINING_QUESTIONS, 2),
        batch_size=experiment.batch_size,
        lr=experiment.lr,
        layer_decay=experiment.layer_decay,
        reported_best_f1=experiment.reported.get("best_f1"),
    )


def _with_measured(row: Row, measured: Measured, best: Measured) -> Row:
    low, high = bootstrap_interval(measured.question_f1)
    lead = best.question_f1 - measured.question_f1
    lead_low, lead_high = bootstrap_interval(lead)
    count = len(measured.best_f1)
    return replace(
        row,
        seeds=count,
        mean=float(np.mean(measured.best_f1)),
        standard_deviation=float(np.std(measured.best_f1, ddof=1)) if count > 1 else None,
        interval=(low, high),
        behind_best=float(100 * lead.mean()),
        within_noise=bool(lead_low <= 0 <= lead_high),
    )


_COLUMNS = (
    *("experiment", "steps", "epochs", "batch", "lr", "decay", "reported best F1"),
    *("measured best F1", "seeds", "95 % interval", "behind the best"),
)


def to_markdown(rows: Sequence[Row], signature: str) -> str:
    """The table for a README.

    Args:
        rows: Of the table.
        signature: What the measured numbers were measured on.
    """
    return f"{table(_COLUMNS, map(_cells, rows))}\n\nMeasured on {signature}.\n"


def _cells(row: Row) -> list[str]:
    behind = ""
    if row.behind_best is not None:
        behind = f"{row.behind_best:.2f}" + (" (within noise)" if row.within_noise else "")
        behind = "best" if row.behind_best == 0 else behind
    spread = f" ± {row.standard_deviation:.2f}" if row.standard_deviation is not None else ""
    return [
        row.name,
        _or_blank(row.updates, "d"),
        _or_blank(row.epochs, ".2f"),
        _or_blank(row.batch_size, "d"),
        _or_blank(row.lr, ".1e"),
        _or_blank(row.layer_decay, ".2f"),
        _or_blank(row.reported_best_f1, ".3f"),
        _or_blank(row.mean, ".2f") + spread,
        str(row.seeds or ""),
        f"{row.interval[0]:.1f} to {row.interval[1]:.1f}" if row.interval else "",
        behind,
    ]


def _or_blank(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)
