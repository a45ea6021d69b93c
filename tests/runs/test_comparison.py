"""The experiment table, on numbers small enough to check by hand."""

import numpy as np
import pytest

from roberta_squad_pipeline.runs.comparison import Measured, build_rows, to_markdown
from roberta_squad_pipeline.runs.experiments import Experiment, Reference


def _experiment(best_f1: float | None) -> Experiment:
    return Experiment(
        updates=5430,
        warmup_updates=326,
        batch_size=48,
        lr=3e-5,
        layer_decay=0.75,
        order="passage_first",
        reported={} if best_f1 is None else {"best_f1": best_f1},
    )


EXPERIMENTS = {"a": _experiment(89.6), "b": _experiment(88.3), "c": _experiment(None)}
REFERENCES = [Reference(name="official", best_f1=89.4)]


def test_rows() -> None:
    """Oracle: by hand. 1,000 questions, of which a gets 900 and b 500."""
    measured = {
        "a": Measured((90.0, 91.0), np.repeat([1.0, 0.0], [900, 100])),
        "b": Measured((50.0,), np.repeat([1.0, 0.0], [500, 500])),
    }
    a, b, official = build_rows(EXPERIMENTS, REFERENCES, measured)
    assert (a.epochs, a.reported_best_f1, a.seeds) == (2.0, 89.6, 2)
    assert (a.mean, a.standard_deviation) == (90.5, pytest.approx(0.5**0.5))
    assert (a.behind_best, a.within_noise) == (0.0, True)
    assert a.interval is not None
    assert a.interval[0] < 90.0 < a.interval[1]
    assert (b.mean, b.standard_deviation) == (50.0, None)
    assert (b.behind_best, b.within_noise) == (40.0, False)
    assert (official.name, official.reported_best_f1, official.mean) == ("official", 89.4, None)


def test_small_differences_are_within_noise() -> None:
    """Oracle: one question of 100."""
    values = np.repeat([1.0, 0.0], [80, 20])
    fewer = values.copy()
    fewer[0] = 0.0
    measured = {"a": Measured((80.0,), values), "b": Measured((79.0,), fewer)}
    _, b, _ = build_rows(EXPERIMENTS, REFERENCES, measured)
    assert b.behind_best == pytest.approx(1.0)
    assert b.within_noise


def test_what_was_neither_reported_nor_measured_is_no_row() -> None:
    assert [row.name for row in build_rows(EXPERIMENTS, [], {})] == ["a", "b"]


def test_markdown() -> None:
    measured = {"a": Measured((90.0,), np.ones(10))}
    table = to_markdown(build_rows(EXPERIMENTS, REFERENCES, measured), "ten questions")
    lines = table.splitlines()
    assert lines[0].startswith("| experiment | steps | epochs | batch | lr | decay |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert (
        "| a | 5430 | 2.00 | 48 | 3.0e-05 | 0.75 | 89.600 | 90.00 | 1 | 100.0 to 100.0 | best |"
        in lines
    )
    assert lines[-1] == "Measured on ten questions."
