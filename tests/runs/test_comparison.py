"""Runs side by side, on questions few enough to check by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.comparison import (
    MeasuredRun,
    measured_run,
    side_by_side,
    write_comparison,
)
from roberta_squad_pipeline.tracking.store import FinishedRun

HOSTILE = "</td><script>alert(1)</script>"


def _run(
    name: str, f1: list[float], odds: list[float], tags: dict[str, str] | None = None, **params: str
) -> MeasuredRun:
    """A run on questions of which the last has no answer."""
    count = len(f1)
    questions = pd.DataFrame(
        {
            "id": [str(number) for number in range(count)],
            "title": "=1+1",
            "question": [f"who built it | {number}? {HOSTILE}" for number in range(count)],
            "answers": [["Anna", "Anna Ødegård"]] * (count - 1) + [[]],
            "predicted": [f"{name}{number}" for number in range(count)],
            "exact": [float(value == 1) for value in f1],
            "f1": f1,
            "answerable": [True] * (count - 1) + [False],
            "no_answer_score": odds,
            "passage_number": range(count),
        }
    )
    return measured_run(FinishedRun(f"id_{name}", name, tags or {}, params), questions)


FIRST = _run("first", [1, 1, 0, 0.5, 0], [-1, -1, -1, -1, 5], **{"training.updates": "40"})
OTHER = _run("other", [1, 0, 1, 0.6, 0], [-1, -1, -1, -1, -2], **{"training.updates": "80"})


def test_what_was_fixed_and_broken() -> None:
    """Oracle: by hand. The first abstains rightly on the last question, the other answers it."""
    comparison = side_by_side([FIRST, OTHER])
    assert comparison.title == "other against first"
    changed = comparison.changed
    assert list(zip(changed["change"], changed["id"], strict=True)) == [
        ("fixed", "2"),
        ("broke", "1"),
        ("broke", "4"),
    ]
    assert changed["answer_against"].tolist() == ["first2", "first1", ""]
    assert changed["answer"].tolist() == ["other2", "other1", "other4"]
    assert changed["f1"].tolist() == [1.0, 0.0, 0.0]
    one, two = comparison.rows
    assert one[:7] == ("first", "40", "", "", "", "", "70.00")
    assert one[-4:] == ("best", "", "", "")
    assert two[-3:] == ("1", "2", "training.updates: 40 there, 80 here")
    assert comparison.markdown.splitlines()[2].startswith("| first | 40 |")


def test_runs_on_other_questions_are_refused() -> None:
    with pytest.raises(InputError, match="got 5 questions, and 2 others; expected runs that"):
        side_by_side([FIRST, _run("few", [1, 0], [-1, 1])])


def test_files(tmp_path: Path) -> None:
    renamed = _run("../other", [1, 0, 1, 0.6, 0], [-1, -1, -1, -1, -2])
    paths = write_comparison(side_by_side([FIRST, renamed]), tmp_path)
    folder = tmp_path / "data/08_reporting/_compared/compared_first_vs_.._other"
    assert paths == [folder / n for n in ("comparison.md", "comparison.html", "questions.csv")]
    markdown, page, csv = (path.read_text(encoding="utf-8") for path in paths)
    assert markdown.startswith("| run | steps |")
    assert "<script>" not in page
    assert "2 questions that ../other broke" in page
    assert "(abstains)" in page
    table = pd.read_csv(paths[2])
    assert table["question"].tolist() == [f"who built it | {n}? {HOSTILE}" for n in (2, 1, 4)]
    assert csv.startswith("change,run,against,id,")
    assert set(table["title"]) == {"'=1+1"}


def test_identical_runs_change_nothing(tmp_path: Path) -> None:
    comparison = side_by_side([FIRST, _run("twin", [1, 1, 0, 0.5, 0], [-1, -1, -1, -1, 5])])
    assert comparison.changed.empty
    assert write_comparison(comparison, tmp_path)


TRAINED = {
    "run": "trained",
    "reader": "None",
    "code": "1",
    "weights.model.safetensors": "2",
    "data.train": "train.json",
    "data.validation": "0.1",
    "data.dev": "dev.json",
    "data.sources.demo_dev.passages": "6",
    "squad_files.train.sha256": "3",
    "squad_files.dev.sha256": "4",
    "training.lr": "None",
    "trained_with.lr": "0.001",
    "training.evaluate_every": "5",
    "inference.precision": "auto",
    "inference.n_best": "9",
    "answered_with.precision": "fp32",
    "answered_with.features_sha256": "5",
}
EVALUATED = {
    "run": "evaluated",
    "reader": "trained",
    "data.train": "",
    "data.validation": "dev",
    "data.dev": "same.json",
    "data.sources.demo_dev.passages": "100",
    "squad_files.dev.sha256": "4",
    "training.lr": "0.001",
    "inference.precision": "fp32",
    "inference.n_best": "9",
    "answered_with.precision": "fp32",
    "answered_with.features_sha256": "6",
}


def test_an_ensemble_is_compared_by_its_members() -> None:
    """Oracle: by hand. The tag has a member that no run is known of."""
    scored: tuple[list[float], list[float]] = ([1, 0], [-1, 1])
    trained = _run("trained", *scored, {"recipe": "0"}, **TRAINED | {"training.seed": "1"})
    seeds = {"training.seed": "2", "code": "9"}
    member = _run("second", *scored, {"recipe": "1"}, **TRAINED | seeds)
    both = replace(
        _run(
            "both",
            *scored,
            {"members": '{"trained": "1", "second": "2", "gone": "3"}'},
            **EVALUATED | {"reader": "None", "ensemble.kind": "logits", "run": "both"},
        ),
        members=(trained.run, member.run),
    )
    says = "logits of trained, second, gone"
    assert side_by_side([trained, both]).rows[1][-1].split("; ") == [
        f"reader: trained there, {says} here",
        "member trained, seed 1: no other settings",
        "member second, seed 2: code: 1 there, 9 here",
    ]
    assert side_by_side([both, trained]).rows[1][-1].split("; ") == [
        f"reader: {says} there, trained here",
        "member trained, seed 1: no other settings",
        "member second, seed 2: code: 9 there, 1 here",
    ]
    other = replace(both, run=replace(both.run, tags={"members": '{"trained": "1"}'}))
    assert (
        side_by_side([both, other]).rows[1][-1] == f"reader: {says} there, logits of trained here"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"training.lr": "0.01"}, "training.lr: 0.001 there, 0.01 here"),
        ({"inference.n_best": "3"}, "inference.n_best: 9 there, 3 here"),
        ({"squad_files.dev.sha256": "7"}, "squad_files.dev.sha256: 4 there, 7 here"),
        ({"reader": "other"}, "reader: trained there, other here"),
    ],
)
def test_what_a_run_that_only_evaluates_does_not_have_is_no_difference(
    changed: dict[str, str], said: str
) -> None:
    """Oracle: by hand, of what a reader's header and a run's parameters say."""
    scored: tuple[list[float], list[float]] = ([1, 0], [-1, 1])
    trained = _run("trained", *scored, {"recipe": "0"}, **TRAINED)
    evaluated = _run("evaluated", *scored, **EVALUATED | changed)
    assert side_by_side([trained, evaluated]).rows[1][-1] == said
    twin = _run("twin", *scored, {"recipe": "0"}, **TRAINED | {"run": "twin", "code": "9"})
    assert side_by_side([trained, twin]).rows[1][-1] == "code: 1 there, 9 here"
