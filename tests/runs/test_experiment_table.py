"""The experiment table, on numbers small enough to check by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.framework.project import configure_project

from roberta_squad_pipeline.runs.comparison import MeasuredRun, measured_run
from roberta_squad_pipeline.runs.experiment_table import (
    build_other_rows,
    build_rows,
    settings_of_its_own,
    sort_out,
    to_markdown,
)
from roberta_squad_pipeline.runs.experiments import Experiment, Reference
from roberta_squad_pipeline.runs.parameters import (
    Parameters,
    config_loader,
    parameters_by_experiment,
)
from roberta_squad_pipeline.tracking.store import FinishedRun


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


def _run(
    experiment: str, right: int, /, *, seed: int = 1, recipe: str = "r", **params: str
) -> MeasuredRun:
    """A run on 100 questions of as many passages, of which it answers some."""
    found = np.repeat([1.0, 0.0], [right, 100 - right])
    questions = pd.DataFrame(
        {
            "id": [str(number) for number in range(100)],
            "predicted": "x",
            "exact": found,
            "f1": found,
            "answerable": True,
            "no_answer_score": -1.0,
            "passage_number": range(100),
        }
    )
    tags = {"experiment": experiment, "seed": str(seed), "recipe": recipe}
    name = f"{experiment}_seed{seed}"
    return measured_run(FinishedRun(name + recipe, name, tags, params), questions)


def test_rows() -> None:
    """Oracle: by hand."""
    measured = {"a": [_run("a", 89), _run("a", 91, seed=2)], "b": [_run("b", 50)]}
    a, b, official = build_rows(EXPERIMENTS, REFERENCES, measured)
    assert (a.epochs, a.reported_best_f1, a.runs) == (2.0, 89.6, ("a_seed1", "a_seed2"))
    assert (a.mean, a.standard_deviation) == (90.0, pytest.approx(2**0.5))
    assert (a.behind_best, a.within_noise) == (0.0, True)
    assert a.interval is not None
    assert a.interval[0] < 90.0 < a.interval[1]
    assert (b.mean, b.standard_deviation) == (50.0, None)
    assert (b.behind_best, b.within_noise) == (40.0, False)
    assert (official.name, official.reported_best_f1, official.mean) == ("official", 89.4, None)


def test_small_differences_are_within_noise() -> None:
    """Oracle: one question of 100."""
    _, b, _ = build_rows(EXPERIMENTS, REFERENCES, {"a": [_run("a", 80)], "b": [_run("b", 79)]})
    assert b.behind_best == pytest.approx(1.0)
    assert b.within_noise


def test_what_was_neither_reported_nor_measured_is_no_row() -> None:
    assert [row.name for row in build_rows(EXPERIMENTS, [], {})] == ["a", "b"]


def test_a_row_takes_the_runs_of_its_recipe() -> None:
    """Oracle: by hand. The newest run of a recipe and seed counts; the others stand apart."""
    newest = _run("a", 90)
    seed2 = _run("a", 80, seed=2)
    other = _run("a", 40, recipe="other")
    own = _run("mine", 30, recipe="mine")
    runs = [newest, other, _run("a", 10), seed2, own, _run("mine", 20, seed=2, recipe="mine")]
    measured, others = sort_out(runs, {"a": "r", "b": "r"})
    assert measured == {"a": [newest, seed2]}
    assert [[run.best_f1 for run in group] for group in others] == [[40.0], [30.0, 20.0]]


def test_what_keeps_a_run_out_of_its_row() -> None:
    shared = {"training.batch_size": "48", "training.lr": "3e-05", "training.layer_decay": "0.75"}
    own = {"training.updates": "40", "training.seed": "2", "model.encoder": "***", "run": "x"}
    run = _run("a", 40, **own, **shared)
    expected = shared | {"training.updates": "173", "training.seed": "1", "model.encoder": "e"}
    [row] = build_other_rows([[run]], {"a": expected})
    assert (row.name, row.updates, row.batch_size, row.mean) == ("a_seed1", 40, 48, 40.0)
    assert row.differs == ("training.updates: 40 there, 173 here",)
    hidden = _run("a", 40, **{"model.encoder": "***", "training.updates": "173"}, **shared)
    [row] = build_other_rows([[hidden]], {"a": expected})
    assert row.differs == ("settings that are not recorded",)
    [row] = build_other_rows([[run]], {})
    assert row.differs == ("none of the experiments",)


def test_an_experiment_in_a_file_is_held_against_the_row_that_it_is_on() -> None:
    """It is no run of the row, even if the row would be run in the same way."""
    trained = {"training.batch_size": "48", "training.updates": "173", "experiment": "a"}
    same = _run("mine", 40, **trained)
    assert sort_out([same], {"a": "r"}) == ({}, [[same]])
    changed = _run("mine", 40, **trained | {"training.updates": "40"})
    rows = build_other_rows([[same], [changed]], {"a": trained})
    assert [row.differs for row in rows] == [
        ("nothing that is recorded but its name",),
        ("training.updates: 40 there, 173 here",),
    ]


def _parameters(changes: dict[str, Any]) -> dict[str, Parameters]:
    configure_project("roberta_squad_pipeline")
    return parameters_by_experiment(config_loader("conf", "base", changes))


def test_settings_that_are_not_the_row_s_own() -> None:
    """Oracle: conf/base, which multiplies the published updates and learning rates."""
    expected = _parameters({})
    published = expected["demo"].experiments.rows
    assert [one.experiment for one in expected.values()] == list(published)
    assert not any(settings_of_its_own(expected[name], name) for name in published)
    given = {
        "training": {"updates": 40, "answerability_weight": 2.0, "no_answer_span_weight": 0.0},
        "model": {"answerability_input": "question"},
        "features": {"order": "question_first"},
        "inference": {"null_score": "combined"},
    }
    assert settings_of_its_own(_parameters(given)["bs48_lr3p0"], "bs48_lr3p0") == {
        "updates": "40",
        "order": "question_first",
        "answerability_input": "question",
        "answerability_weight": "2.0",
        "no_answer_span_weight": "0.0",
        "null_score": "combined",
    }
    assert parameters_by_experiment(config_loader("conf", "own", {})) == {}


def test_markdown() -> None:
    run = {"training.updates": "40", "training.batch_size": "48"}
    in_row = _run("a", 100, **run | {"training.lr": "0.00099", "training.layer_decay": "0.75"})
    rows = build_rows(EXPERIMENTS, REFERENCES, {"a": [in_row]})
    others = build_other_rows([[_run("a", 50, recipe="other", **run)]], {})
    text = to_markdown(rows, others, "ten questions")
    lines = text.splitlines()
    assert lines[0].startswith("| experiment | steps | epochs | batch | lr | decay |")
    assert (
        "| a | 5430 | 2.00 | 48 | 3.0e-05 | 0.75 | 89.600 | a_seed1 | "
        "40 updates of 48, lr 9.9e-04, decay 0.75 | 100.00 | 1 | 96.3 to 100.0 | best |" in lines
    )
    assert "Measured on ten questions." in lines
    assert lines[-1].startswith("| a_seed1 | 40 | 48 |  |  | 50.00 | 1 |")
    tables = text.split("\n\n")
    for one in (tables[0], tables[3]):
        assert len({line.count("|") for line in one.strip().splitlines()}) == 1
    assert "Other runs" not in to_markdown(rows, [], "ten questions")
