"""The command that scores as the official scorer does.

Oracle: the official scorer's own printed output for the golden files; else figures by hand.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.evaluation.score import main


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Three questions: one right, one wrong, one rightly empty; answers anywhere but in place."""
    answers = [{"text": "cat", "answer_start": 99}]
    qas = [
        {"id": "q1", "question": "?", "answers": answers},
        {"id": "q2", "question": "?", "answers": answers},
        {"id": "q3", "question": "?", "answers": []},
    ]
    contents: dict[str, Any] = {
        "data": {"data": [{"title": "", "paragraphs": [{"context": "-", "qas": qas}]}]},
        "predictions": {"q1": "the cat", "q2": "dog", "q3": ""},
        "odds": {"q1": -1.5, "q2": 0.5, "q3": 2},
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return {name: str(tmp_path / f"{name}.json") for name in contents}


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_ids_may_be_numbers(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """In the data; JSON has none but texts as keys of the predictions."""
    main([files["data"], files["predictions"]])
    expected = capsys.readouterr().out
    for name in ("data", "predictions"):
        path = Path(files[name])
        numbers = {"data": r"\1", "predictions": r'"\1"'}[name]
        path.write_text(re.sub(r'"q(\d)"', numbers, path.read_text()))
    assert main([files["data"], files["predictions"]]) == 0
    assert capsys.readouterr().out == expected


def test_prints_the_report(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    odds = ["--na-prob-file", files["odds"], "--na-prob-thresh", "-2.0"]
    assert main([files["data"], files["predictions"], *odds]) == 0
    # Below every score all three abstain; the best cut lets the right answer stand alone.
    assert json.loads(capsys.readouterr().out) == {
        "exact": 100 / 3,
        "f1": 100 / 3,
        "total": 3,
        "HasAns_exact": 0.0,
        "HasAns_f1": 0.0,
        "HasAns_total": 2,
        "NoAns_exact": 100.0,
        "NoAns_f1": 100.0,
        "NoAns_total": 1,
        "best_exact": pytest.approx(200 / 3),
        "best_exact_thresh": -1.5,
        "best_f1": pytest.approx(200 / 3),
        "best_f1_thresh": -1.5,
    }


def test_default_threshold_is_one(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files["predictions"]).write_text('{"q1": "cat", "q2": "cat", "q3": "cat"}')
    Path(files["odds"]).write_text('{"q1": 1.0, "q2": 1.001, "q3": 0}')
    assert main([files["data"], files["predictions"], "-n", files["odds"]]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["HasAns_exact"], report["NoAns_exact"]) == (50.0, 0.0)


def test_writes_the_report(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([files["data"], files["predictions"]]) == 0
    printed, said = capsys.readouterr()
    assert said == "3 of 3 scored\n"
    assert main([files["data"], files["predictions"], "-o", str(tmp_path / "metrics.json")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "metrics.json").read_text() == printed


def test_missing_predictions_are_named_and_score_nothing(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files["predictions"]).write_text('{"q2": "cat", "other": "x"}')
    assert main([files["data"], files["predictions"]]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "Missing prediction for q1, which scores 0",
        "Missing prediction for q3, which scores 0",
        "1 of 3 scored",
    ]
    report = json.loads(said.out)
    assert (report["exact"], report["total"]) == (100 / 3, 3)
    assert (report["HasAns_exact"], report["HasAns_total"]) == (50.0, 2)
    assert (report["NoAns_exact"], report["NoAns_total"]) == (0.0, 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data", "[]", "no questions at all"),
        ("data", '{"data": []}', "no questions at all"),
        ("predictions", "q1\tcat\n", "not JSON"),
        ("predictions", '["cat"]', "got a list; expected an object"),
        ("predictions", '{"q1": 3}', "q1: got 3; expected a string"),
        ("predictions", '{"other": "cat"}', "no prediction for any of the 3 questions"),
        ("odds", '{"q1": "0.5"}', 'q1: got "0.5"; expected a number'),
        ("odds", '{"q1": NaN}', "q1: got NaN; expected a finite number"),
        ("odds", '{"q1": 0, "q2": 0}', "none for the question 'q3'"),
    ],
)
def test_bad_file_is_one_message_that_names_it(
    files: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    message: str,
) -> None:
    Path(files[name]).write_text(content)
    error = error_of([files["data"], files["predictions"], "-n", files["odds"]], capsys)
    assert files[name] in error
    assert message in error


@pytest.mark.parametrize("threshold", ["nan", "inf"])
def test_threshold_is_finite(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], threshold: str
) -> None:
    error = error_of([files["data"], files["predictions"], "-t", threshold], capsys)
    assert f"--na-prob-thresh: got {threshold}" in error


def test_report_that_cannot_be_written(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of([files["data"], files["predictions"], "-o", str(tmp_path)], capsys)
    assert str(tmp_path) in error
    assert "Is a directory" in error


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("metrics.json", ["-n", "{golden}/null_odds.json", "-t", "0"]),
        (
            "metrics-threshold-minus-0.7.json",
            ["--na-prob-file", "{golden}/null_odds.json", "--na-prob-thresh", "-0.7"],
        ),
        ("metrics-no-null-odds.json", []),
    ],
)
def test_prints_what_the_official_scorer_prints(
    shared: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str]
) -> None:
    golden = shared / "squad/golden"
    data, predictions = str(shared / "squad/dev-sample.json"), str(golden / "predictions.json")
    assert main([data, predictions, *(option.format(golden=golden) for option in options)]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = json.loads((golden / name).read_text())
    assert list(printed) == list(expected)
    assert printed == pytest.approx(expected, rel=0, abs=1e-9)


def test_runs_as_a_module_without_heavy_imports(files: dict[str, str]) -> None:
    arguments = [
        "-m",
        "roberta_squad_pipeline.evaluation.score",
        files["data"],
        files["predictions"],
    ]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["total"] == 3
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "numpy" in imported
    heavy = {"torch", "transformers", "kedro", "mlflow", "pandas", "pyarrow", "fsspec", "aiohttp"}
    assert not imported & heavy
