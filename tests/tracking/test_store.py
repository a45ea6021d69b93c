"""Addresses of MLflow's store. Oracle: written by hand."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking.fetching import reader_folder
from roberta_squad_pipeline.tracking.mlflow_run import open_run
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.store import first_line, refusal, runs_page, tracking_uri
from roberta_squad_pipeline.tracking.tracker import Journal

WITH_CREDENTIALS = "https://us%40er:tok%40en@127.0.0.1:9/x"


@pytest.fixture
def credentials_in_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WITH_CREDENTIALS)
    # They are set below, and have to go afterwards.
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "before")


@pytest.mark.usefixtures("credentials_in_uri")
def test_credentials_go_where_mlflow_looks_for_them(tmp_path: Path) -> None:
    assert tracking_uri(tmp_path) == "https://127.0.0.1:9/x"
    names = ("USERNAME", "PASSWORD", "URI")
    found = [os.environ[f"MLFLOW_TRACKING_{name}"] for name in names]
    assert found == ["us@er", "tok@en", "https://127.0.0.1:9/x"]


def opened(folder: Path) -> None:
    nobody = Provenance("me", "command", "none", "none")
    open_run(Journal(folder, "e", folder), "n", nobody, {})


def fetched(_: Path) -> None:
    with reader_folder("models:/x/1"):
        pass


@pytest.mark.usefixtures("credentials_in_uri")
@pytest.mark.parametrize("ask", [opened, fetched])
def test_a_server_that_is_away_is_told_of_without_credentials(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    ask: Callable[[Path], None],
) -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1") as told:
        ask(tmp_path)
    said = str(told.value) + "".join(capfd.readouterr()) + caplog.text
    for hidden in ("tok%40en", "tok@en", "us%40er"):
        assert hidden not in said


def test_a_database_s_password_is_not_told() -> None:
    error = ValueError("no driver for postgresql://me:secret@host/db\nand more")
    assert first_line(error) == "no driver for postgresql://***@host/db"


@pytest.mark.parametrize(
    ("status", "got", "remedy"),
    [
        (401, "no access", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, "no access", "ask whoever runs the server"),
        (404, "no answer", "correct or unset MLFLOW_TRACKING_URI"),
    ],
)
def test_a_server_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, got: str, remedy: str
) -> None:
    """Oracle: a server that answers with this status alone."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(InputError, match=remedy) as told:
            opened(tmp_path)
        server.shutdown()
    assert told.value.got.startswith(got)


def test_a_store_of_another_kind_or_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: MLflow itself, on a folder and on a database whose schema is called an old one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with pytest.raises(InputError, match=r"got a folder of files.*sqlite:///mlflow\.db"):
        opened(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'new.db'}")
    opened(tmp_path / "unsent")
    old = Path(shutil.copy(tmp_path / "new.db", tmp_path / "old.db"))
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("update alembic_version set version_num = '0584bdc529eb'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old}")
    with pytest.raises(InputError, match=f"another release.*mlflow db upgrade sqlite:///{old}"):
        opened(tmp_path)
    told = refusal(ModuleNotFoundError("No module named 'psycopg'"), "postgresql://u:p@h/x")
    assert str(told) == (
        "MLflow tracking store postgresql://***@h/x: got no answer (No module named 'psycopg'); "
        "expected a store that takes runs. Install the database's driver, or correct or unset "
        "MLFLOW_TRACKING_URI."
    )


def test_where_runs_are_shown() -> None:
    """On MLflow's pages for training, not among those on language models."""
    rest = "#/experiments/3/runs/f00?workflowType=machine_learning"
    assert runs_page("http://me:secret@host/a/", "3", "/f00?") == f"http://host/a/{rest}"
    assert runs_page("sqlite:///mlflow.db", "3", "/f00?") == f"http://127.0.0.1:5000/{rest}"
