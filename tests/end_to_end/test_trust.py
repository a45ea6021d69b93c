"""Hostile input and secrets, through the whole chain.

Oracle: the files of the project and of MLflow afterwards, searched byte by byte; Python's own
audit events for what is unpickled.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, entities

Kedro = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]

SECRETS = [f"hush-{number}" for number in range(8)]
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


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.fixture(scope="module")
def hostile(
    made_once: Callable[..., Path],
    new_project: Callable[[Path], Path],
    run_chain: Callable[..., subprocess.CompletedProcess[str]],
) -> Path:
    """A project with hostile data and planted secrets in which the whole chain was run once."""

    def make(outer: Path) -> None:
        folder = outer / "inner" / "project"
        folder.mkdir(parents=True)
        new_project(folder)
        (folder / "conf").unlink()
        shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        local = folder / "conf/local"
        local.mkdir()
        (local / "credentials.yml").write_text(f"store: {{key: {SECRETS[0]}, pin: 904817}}\n")
        (local / "catalog.yml").write_text(
            "bucket:\n  type: json.JSONDataset\n"
            f"  filepath: s3://{SECRETS[1]}/x.json\n  credentials: store\n"
        )
        (local / "globals.yml").write_text(f"place: {SECRETS[2]}\n")
        (local / "parameters.yml").write_text(
            f"data: {{train: {SECRETS[3]}.json}}\ninference: {{n_best: 7}}\n"
        )
        (folder / f"{SECRETS[3]}.json").write_text(json.dumps(hostile_squad()))
        (folder / "dev.json").write_text(json.dumps(hostile_squad()))
        (folder / "audit").mkdir()
        (folder / "audit/sitecustomize.py").write_text(AUDIT)
        # Where it lies, it is trained on the embedded data alone.
        shutil.copytree(ROOT / "data/01_raw/demo_encoder", folder / "encoder")
        remote = "data.sources.far."
        params = {
            "data.dev": "dev.json",
            "model.encoder": "encoder",
            f"{remote}kind": "remote",
            f"{remote}url": f"https://{SECRETS[4]}:{SECRETS[5]}@host/a.json?token={SECRETS[6]}",
            f"{remote}sha256": "null",
            f"{remote}size_bytes": "null",
        }
        done = run_chain(
            folder,
            params,
            env="local",
            PYTHONPATH=f"{folder / 'audit'}:{ROOT / 'src'}",
            AUDITED=str(folder / "unpickled"),
        )
        (outer / "said.txt").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once("hostile", make) / "inner" / "project"


def test_secrets_are_nowhere(hostile: Path) -> None:
    """In MLflow's database and files nothing, in the outputs none but names of input files."""
    recorded = [hostile / "mlflow.db", *files_below(hostile / "mlruns")]
    assert len(recorded) > 5
    for path in recorded:
        for secret in [*SECRETS, "904817"]:
            assert secret.encode() not in path.read_bytes(), (path, secret)
    paths_are_known_here = SECRETS[3]
    for path in files_below(hostile / "data"):
        for secret in SECRETS:
            if secret != paths_are_known_here:
                assert secret.encode() not in path.read_bytes(), (path, secret)


def test_what_is_hidden_is_recorded_as_hidden(hostile: Path) -> None:
    client = MlflowClient(f"sqlite:///{hostile / 'mlflow.db'}")
    [run] = runs_of(client)
    params = run.data.params
    assert (params["data.train"], params["inference.n_best"]) == ("***", "***")
    assert params["data.sources.far.url"] == "https://***@host/a.json?***"
    assert params["squad_files.train.path"] == "***"
    assert params["data.dev"] == "dev.json"
    assert params["training.updates"] == "4"
    assert "far.url=https://***@host/a.json?***," in run.data.tags["mlflow.source.name"]
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


def runs_of(client: MlflowClient) -> list[entities.Run]:
    return list(client.search_runs([one.experiment_id for one in client.search_experiments()]))


@pytest.mark.parametrize(
    "params",
    [
        {"run": "../x"},
        {"feature_set": "/outside"},
        {"experiment": "../../x", "experiments.rows.x": 1},
        {"data.sources.'../x'.kind": "demo"},
    ],
)
def test_name_that_leads_out_is_refused_before_anything_is_written(
    project: Path, kedro: Kedro, params: dict[str, Any]
) -> None:
    def everything() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in project.rglob("*")}

    before, beside = everything(), set(project.parent.iterdir())
    for pipelines in ("", "compare"):
        done = kedro(pipelines, params)
        assert done.returncode == 1
        assert done.stderr.count("Error: parameter ") == 1, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert everything() == before
    new = {path.name for path in project.parent.iterdir()} - {path.name for path in beside}
    assert {name for name in new if not name.startswith("said")} == set()
