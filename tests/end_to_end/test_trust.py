"""Hostile input and secrets, through the whole chain.

Oracle: the files of the project and of MLflow afterwards, searched byte by byte; Python's own
audit events for what is unpickled.
"""

import json
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from planted_secrets import FAR, check_secrets, plant_secrets

Kedro = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]

MARKUP = '</script><img src=x onerror="window.hacked=1"><svg onload=alert(1)>'
IDS = ["../../outside", "/outside", "a\0b", MARKUP, "x" * 5000, "..", "~/outside", "%2e%2e%2f"]

AUDIT = """
import os, sys, traceback

def listen(event, arguments):
    if event == "pickle.find_class":
        with open(os.environ["AUDITED"], "a") as file:
            file.write(f"{arguments} {''.join(traceback.format_stack(limit=6))}")

sys.addaudithook(listen)
open(os.environ["AUDITED"] + ".listening", "w").close()
"""


def hostile_squad() -> dict[str, Any]:
    passage = f"{MARKUP} Mill Bridge crosses the Wend. {MARKUP}"
    answer = {"text": "Wend", "answer_start": passage.index("Wend")}
    questions = [
        {
            "id": one,
            "question": f"{MARKUP} number {number}?",
            "answers": [answer] if number % 2 else [],
            "is_impossible": not number % 2,
        }
        for number, one in enumerate(IDS)
    ]
    paragraphs = [{"context": passage, "qas": questions}]
    return {"version": "v2.0", "data": [{"title": MARKUP, "paragraphs": paragraphs}]}


@pytest.fixture(scope="module")
def hostile(
    made_once: Callable[..., Path],
    new_project: Callable[[Path], Path],
    run_cold: Callable[..., subprocess.CompletedProcess[str]],
) -> Path:
    """A project with hostile data and planted secrets in which the whole chain was run once."""

    def make(outer: Path) -> None:
        folder = outer / "inner" / "project"
        folder.mkdir(parents=True)
        new_project(folder)
        params = plant_secrets(folder, hostile_squad())
        (folder / "audit").mkdir()
        (folder / "audit/sitecustomize.py").write_text(AUDIT)
        done = run_cold(
            folder,
            params,
            env="local",
            PYTHONPATH=f"{folder / 'audit'}:{ROOT / 'src'}",
            AUDITED=str(folder / "unpickled"),
        )
        (outer / "said.txt").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Deprecat" not in done.stdout + done.stderr

    return made_once("hostile", make) / "inner" / "project"


def test_secrets_are_nowhere_after_success(hostile: Path) -> None:
    said = hostile.parents[1].joinpath("said.txt").read_text()
    check_secrets(hostile, said, hostile / "mlflow.db", hostile / "mlruns")


@pytest.mark.parametrize(
    ("given", "variables", "got"),
    [
        ({"data.train": "far"}, {}, "https://***@127.0.0.1:9/a.json?***: got no connection"),
        ({"data.train": FAR}, {}, "https://***@127.0.0.1:9/a.json?***: got "),
        ({}, {"MLFLOW_TRACKING_URI": FAR}, "MLflow tracking store https://127.0.0.1:9/a.json"),
    ],
)
def test_secrets_are_nowhere_after_failure(
    project: Path,
    start: Callable[..., Any],
    runs: Callable[[], list[Run]],
    given: dict[str, str],
    variables: dict[str, str],
    got: str,
) -> None:
    """A source that is away, a signed address as data.train, and MLflow away."""
    run = start(plant_secrets(project, hostile_squad()) | given, env="local", **variables)
    said = run.communicate(timeout=300)[0]
    assert run.returncode == 1
    assert got in said
    assert "Traceback" not in said
    check_secrets(project, said, project / "mlflow.db", project / "mlruns")
    failed = [] if variables else ["FAILED"]
    assert [run.info.status for run in runs()] == failed


def test_what_is_hidden_is_recorded_as_hidden(hostile: Path) -> None:
    client = MlflowClient(f"sqlite:///{hostile / 'mlflow.db'}")
    [run] = client.search_runs([one.experiment_id for one in client.search_experiments()])
    params = run.data.params
    hidden = ("data.train", "data.dev", "inference.n_best", "squad_files.train.path")
    assert {params[name] for name in hidden} == {"***"}
    assert params["data.sources.far.url"] == "https://***@127.0.0.1:9/a.json?***"
    assert params["training.updates"] == "4"
    assert "far.url=https://***@127.0.0.1:9/a.json?***," in run.data.tags["command"]
    [written] = (hostile / "mlruns").rglob("configuration.yml")
    assert "credentials: '***'" in written.read_text()


def test_nothing_was_unpickled(hostile: Path) -> None:
    assert (hostile / "unpickled.listening").exists()
    unpickled = hostile / "unpickled"
    assert not unpickled.exists(), unpickled.read_text()


def test_nothing_was_written_outside_of_the_project(hostile: Path) -> None:
    outer = hostile.parent.parent
    assert {path.name for path in outer.iterdir()} == {"inner", "said.txt"}
    assert [path.name for path in outer.joinpath("inner").iterdir()] == ["project"]
    predictions = json.loads((hostile / "data/07_model_output/demo/predictions.json").read_text())
    assert set(predictions) == set(IDS)


def test_markup_in_the_data_is_text_in_the_report(hostile: Path) -> None:
    """Oracle: an HTML parser. What a browser makes of it, see report/test_page.py."""

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"img", "svg", "iframe", "object", "embed"}
            assert not [name for name, _ in attrs if name.startswith("on")]

    Tags().feed((hostile / "data/08_reporting/demo/report.html").read_text(encoding="utf-8"))


def test_name_that_leads_out_is_refused_before_anything_is_written(
    project: Path, kedro: Kedro
) -> None:
    """Which other names are refused: runs/test_parameters.py."""

    def everything() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in project.rglob("*")}

    before, beside = everything(), set(project.parent.iterdir())
    for pipelines, params in (
        ("", {"run": "../x"}),
        ("compare", {"experiment": "../../x", "experiments.rows.x": 1}),
        ("", {"data.sources.'../x'.kind": "demo"}),
    ):
        done = kedro(pipelines, params)
        assert done.returncode == 1
        assert done.stderr.count("Error: parameter ") == 1, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert everything() == before
    new = {path.name for path in project.parent.iterdir()} - {path.name for path in beside}
    assert {name for name in new if not name.startswith("said")} == set()
