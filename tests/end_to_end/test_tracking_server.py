"""A tracking server that goes away while a run goes on.

Oracle: what a real MLflow server knows of the run when it is back.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from planted_secrets import SECRETS, check_secrets, plant_secrets
from roberta_squad_pipeline.tracking.mlflow_run import open_run
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.tracker import Journal

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

UPDATES = 100
PARAMS = {"training.updates": UPDATES, "training.checkpoint_every": 100}

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Any]


class Server:
    """`mlflow server` on a port of its own, with its data in a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.uri = f"http://127.0.0.1:{port}"
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            # It would start eight processes for jobs of another kind.
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while True:
            try:
                MlflowClient(self.uri).search_experiments()
            except MlflowException:
                assert self._process.poll() is None, "the server does not start"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            # Its workers, too.
            subprocess.run(["pkill", "-KILL", "-s", str(self._process.pid)], check=False)
            self._process.wait()

    def runs(self, name: str) -> list[Run]:
        client = MlflowClient(self.uri)
        everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(everywhere, f"attributes.run_name = '{name}'"))


@pytest.fixture
def server(
    tmp_path_factory: pytest.TempPathFactory,
    database: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database, folder / "server.db")
    running = Server(folder, free_port)
    running.start()
    yield running
    running.kill()


def wait_for_curve(server: Server, process: Any, name: str) -> None:
    deadline = time.monotonic() + 300
    while not any("train/loss" in run.data.metrics for run in server.runs(name)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no learning curve while the run was going on"
        time.sleep(0.2)


def check_complete(server: Server, name: str, *, scored: bool) -> None:
    [run] = server.runs(name)
    client = MlflowClient(server.uri)
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == list(range(1, UPDATES + 1))
    assert "training.lr" in run.data.params
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert "configuration.yml" in names
    if scored:
        assert {"predictions.json", "metrics.json"} <= names
        assert {"dev/best_f1", "dev/HasAns_f1"} <= run.data.metrics.keys()


def test_server_that_is_killed(
    project: Path, start: Start, command: Command, server: Server
) -> None:
    """While one run goes on it comes back; another is told of later, by a command.

    Meanwhile and afterwards, what is secret stays so.
    """
    process = start(PARAMS, MLFLOW_TRACKING_URI=server.uri)
    wait_for_curve(server, process, "demo")
    server.kill()
    lost = project / "data/08_reporting/_unsent"
    assert len(list(lost.iterdir())) == 1
    deadline = time.monotonic() + 300
    while "does not answer" not in process.said():
        assert time.monotonic() < deadline, "nobody notices"
        time.sleep(0.1)
    server.start()
    said = " ".join(process.communicate(timeout=300)[0].split())
    assert process.returncode == 0, said
    assert "Traceback" not in said
    check_complete(server, "demo", scored=True)
    assert list(lost.iterdir()) == []

    passage = "Mill Bridge crosses the Wend."
    answers = [{"text": "Wend", "answer_start": passage.index("Wend")}]
    asked = [{"id": "a", "question": "Which river?", "answers": answers}]
    squad = {"version": "1.1", "data": [{"paragraphs": [{"context": passage, "qas": asked}]}]}
    params = PARAMS | plant_secrets(project, squad) | {"run": "later"}
    uri = server.uri.replace("://", f"://me:{SECRETS['uri']}@")
    run = start(params, "train", env="local", MLFLOW_TRACKING_URI=uri)
    wait_for_curve(server, run, "later")
    server.kill()
    everything = run.communicate(timeout=300)[0]
    said = " ".join(everything.split())
    assert run.returncode == 0, said
    assert "send them when it answers again: kedro send-tracking" in said
    assert "Traceback" not in said
    assert (project / "data/06_models/later/reader.json").exists()
    check_secrets(project, everything, lost)
    away = command("send-tracking", MLFLOW_TRACKING_URI=uri)
    assert away.returncode == 1
    assert "got no answer" in away.stderr
    assert "Traceback" not in away.stdout + away.stderr
    server.start()
    done = command("send-tracking", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    [sent] = server.runs("later")
    assert f"run {sent.info.run_id}: " in done.stdout
    check_complete(server, "later", scored=False)
    for each in (away, done):
        check_secrets(project, each.stdout + each.stderr, server.folder)
    assert "nothing left to send" in command("send-tracking").stdout


def test_the_run_list_leads_to_one_with_scores(
    server: Server, chrome: "Chrome", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a browser that was never there before shows them."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    run = open_run(
        Journal(tmp_path, "qa", tmp_path),
        "mine",
        Provenance(user="me", command="kedro run", git_commit="abc", git_tree="clean"),
        {},
    )
    run.log_scores({"dev/best_f1": 81.25})
    run.end("FINISHED")
    wait = WebDriverWait(chrome, 300)
    chrome.set_window_size(1920, 900)
    chrome.get(run.pages["all runs"].replace("viewStateShareKey=scores&", ""))
    link = wait.until(lambda page: page.find_element(By.LINK_TEXT, "Runs by best F1"))
    wait.until(lambda page: "mine" in page.page_source)
    assert "81.25" not in chrome.page_source
    assert link.get_attribute("href") == run.pages["all runs"]
    chrome.get("about:blank")
    chrome.get(run.pages["all runs"])
    wait.until(lambda page: "81.25" in page.page_source and "dev/best_f1" in page.page_source)
