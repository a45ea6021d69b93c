"""Runs side by side, on questions few enough to check by hand."""

from pathlib import Path

import pandas as pd
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.comparison import side_by_side, write_comparison
from roberta_squad_pipeline.runs.measured import MeasuredRun, measured_run
from roberta_squad_pipeline.tracking.history import FinishedRun

HOSTILE = "</td><script>alert(1)</script>"


def _run(name: str, f1: list[float], odds: list[float], **params: str) -> MeasuredRun:
    """A run on questions of which the last has no answer."""
    count = len(f1)
    questions = pd.DataFrame(
        {
            "id": [str(number) for number in range(count)],
            "title": "Mills",
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
    return measured_run(FinishedRun(f"id_{name}", name, {}, params), questions)


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


def test_identical_runs_change_nothing(tmp_path: Path) -> None:
    comparison = side_by_side([FIRST, _run("twin", [1, 1, 0, 0.5, 0], [-1, -1, -1, -1, 5])])
    assert comparison.changed.empty
    assert write_comparison(comparison, tmp_path)
