"""The trained reader in the hands of those who ask it.

Oracle: predictions.json and null_odds.json of the run that trained it.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.cli import cli
from spans import read_spans

Command = Callable[..., subprocess.CompletedProcess[str]]

WITHOUT_TORCH = """
import importlib.machinery, importlib.metadata
find, found = importlib.machinery.PathFinder.find_spec, importlib.metadata.distribution
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] == "torch" else find(name, path, target)
def distribution(name):
    if name == "torch":
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)
importlib.machinery.PathFinder.find_spec = find_spec
importlib.metadata.distribution = distribution
from kedro.framework.cli.cli import main
main()
"""


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def asked(finished: Path) -> dict[str, tuple[str, str]]:
    """Question and passage by question id, in the dev file's order."""
    files = _json(finished / "data/01_raw/demo/squad_files.json")
    return {
        question["id"]: (question["question"], paragraph["context"])
        for article in _json(finished / files["dev"]["path"])["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }


@pytest.fixture(scope="module")
def reader(finished: Path) -> Reader:
    return Reader.load(finished / "data/06_models/demo")


def test_reader_says_what_the_pipeline_predicted(
    finished: Path, reader: Reader, asked: dict[str, tuple[str, str]]
) -> None:
    output = finished / "data/07_model_output/demo"
    predictions, null_odds = _json(output / "predictions.json"), _json(output / "null_odds.json")
    nbest = read_spans(output)
    answers = dict(zip(asked, reader.answer_all(asked.values()), strict=True))
    assert {name: answer.best.text for name, answer in answers.items()} == predictions
    assert {name: answer.no_answer_score for name, answer in answers.items()} == null_odds
    for name, answer in answers.items():
        assert [candidate.text for candidate in answer.candidates] == [
            span["text"] for span in nbest[name]
        ]
        passage = asked[name][1]
        assert passage[answer.best.char_start : answer.best.char_end] == answer.best.text


def test_predict_says_the_same(finished_copy: Path, command: Command) -> None:
    """Of the dev file itself; what other forms a file may have: inference/test_file_answers.py."""
    output = finished_copy / "data/07_model_output/demo"
    predictions, null_odds = _json(output / "predictions.json"), _json(output / "null_odds.json")
    questions = _json(finished_copy / "data/01_raw/demo/squad_files.json")["dev"]["path"]
    arguments = ("--run", "demo", "--input", questions, "--output", "answers.jsonl")
    done = command("predict", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (finished_copy / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    assert {name: row["best_span"] for name, row in rows.items()} == predictions
    assert {name: row["no_answer_score"] for name, row in rows.items()} == null_odds
    nothing = ("--input", "nothing.jsonl", "--output", "answers.jsonl")
    refused = command("predict", "--run", "demo", *nothing)
    assert refused.returncode == 1
    assert "got no such file" in refused.stderr
    assert "Traceback" not in refused.stderr
    unsaid = command("run", "--pipeline", "predict")
    assert "predict.input, predict.output: got nothing, nothing" in unsaid.stderr


def test_an_exported_reader_answers_and_is_scored_without_torch(
    finished_copy: Path, asked: dict[str, tuple[str, str]], command: Command
) -> None:
    exported = command("run", "--pipeline", "export_onnx")
    assert exported.returncode == 0, exported.stdout + exported.stderr
    assert "next: kedro ask --run demo/onnx" in exported.stdout
    records = [{"id": name, "question": q, "context": p} for name, (q, p) in asked.items()]
    pd.DataFrame(records).to_json(finished_copy / "dev.jsonl", orient="records", lines=True)
    questions = _json(finished_copy / "data/01_raw/demo/squad_files.json")["dev"]["path"]
    given = {
        "predict": ("--input", "dev.jsonl", "--output", "answers.jsonl"),
        "evaluate": ("--data", questions, "--as", "again"),
    }
    for name, options in given.items():
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, name, "--run", "demo/onnx", *options],
            cwd=finished_copy,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    lines = (finished_copy / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    spans = {row["id"]: row["best_span"] for row in map(json.loads, lines)}
    output = finished_copy / "data/07_model_output"
    assert (
        spans == _json(output / "demo/predictions.json") == _json(output / "again/predictions.json")
    )
    metrics = (
        _json(finished_copy / f"data/08_reporting/{run}/metrics.json") for run in ("demo", "again")
    )
    assert next(metrics) == next(metrics)
    client = MlflowClient(f"sqlite:///{finished_copy / 'mlflow.db'}")
    [version] = client.search_model_versions("name = 'roberta_squad_pipeline_onnx'")
    assert (version.tags["run"], version.tags["precision"]) == ("demo", "fp32")
    assert client.get_run(version.run_id or "").info.run_name == "demo/onnx"


def test_reader_of_the_run_is_registered(
    finished: Path,
    reader: Reader,
    asked: dict[str, tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    free_port: int,
) -> None:
    """The same answers from MLflow's registry, and over HTTP from its server."""
    store = f"sqlite:///{finished / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    [version] = MlflowClient(store).search_model_versions("name = 'roberta_squad_pipeline'")
    registered = Reader.load("models:/roberta_squad_pipeline/1")
    pairs = list(asked.values())[:5]
    answers = reader.answer_all(pairs)
    assert registered.answer_all(pairs) == answers
    assert registered.trained.evaluation == reader.trained.evaluation
    assert registered.trained.evaluation is not None

    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
            *("-m", f"runs:/{version.run_id}/reader", "--port", str(free_port)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        served = ask_over_http(server, free_port, pairs)
    finally:
        # Its workers, too.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    for row, answer in zip(served, answers, strict=True):
        assert row["answer"] == answer.text
        assert row["best_span"] == answer.best.text
        assert (row["char_start"], row["char_end"]) == (
            answer.best.char_start,
            answer.best.char_end,
        )
        assert row["answer_probability"] == pytest.approx(answer.answer_probability)
        assert row["no_answer_probability"] == pytest.approx(answer.no_answer_probability)


def ask_over_http(
    server: subprocess.Popen[bytes], port: int, pairs: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    rows = [{"question": question, "passage": passage} for question, passage in pairs]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"dataframe_records": rows}).encode(),
        {"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
                predictions: list[dict[str, Any]] = json.load(response)["predictions"]
                return predictions
        except urllib.error.URLError:
            assert server.poll() is None, "the server does not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)


def test_kedro_ask(
    finished: Path,
    reader: Reader,
    asked: dict[str, tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(finished / "src")  # any folder of the project will do
    bootstrap_project(finished)
    question, passage = next(iter(asked.values()))
    typed = f"{passage}\n\n{question}\n"
    done = CliRunner().invoke(cli, ["ask", "--experiment", "demo"], input=typed)
    assert done.exit_code == 0, done.output
    answer = reader.answer(question, passage)
    marked = passage[: answer.best.char_start] + f"[[{answer.best.text}]]"
    assert marked[-100:] in done.output
    as_json = CliRunner().invoke(cli, ["ask", "--run", "demo", "--json"], input=typed)
    row = json.loads(as_json.output)
    assert (row["question"], row["answer"]) == (question, answer.text)
    assert row["no_answer_score"] == answer.no_answer_score
    (finished.parent / "latin1.txt").write_bytes("Zoë".encode("latin-1"))
    refused = {
        "Train one: kedro run": ["--experiment", "nobody"],
        "Give another --port": ["--run", "demo", "--web", "--host", "203.0.113.1"],
        "is not text in UTF-8": ["--passage-file", str(finished.parent / "latin1.txt")],
        "Give either": ["--passage", "a", "--passage-file", str(finished / "conf/logging.yml")],
    }
    for said, options in refused.items():
        missing = CliRunner().invoke(cli, ["ask", *options])
        assert missing.exit_code != 0
        assert said in missing.output
        assert isinstance(missing.exception, SystemExit)
