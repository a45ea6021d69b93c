"""Oracle: git itself, in a checkout made for the test."""

import subprocess
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.tracking.provenance import provenance


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_checkout_clean_and_modified(tmp_path: Path) -> None:
    _git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    _git(tmp_path, "add", "a")
    _git(tmp_path, "commit", "-m", "first")
    found = provenance(tmp_path, Redaction())
    assert (found.git_commit, found.git_tree) == (_git(tmp_path, "rev-parse", "HEAD"), "clean")
    (tmp_path / "a").write_text("2")
    assert provenance(tmp_path, Redaction()).git_tree == "modified"


def test_outside_of_a_checkout(tmp_path: Path) -> None:
    found = provenance(tmp_path, Redaction())
    assert (found.git_commit, found.git_tree) == ("none", "none")


def test_command_does_not_tell_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = "data.sources.a.url=https://me:pass@host/a.json?key=abc,run=mine"
    monkeypatch.setattr("sys.argv", ["/bin/kedro", "run", "--params", params, "hush"])
    found = provenance(tmp_path, Redaction({"a": "hush"}))
    hidden = "data.sources.a.url=https://***@host/a.json?***,run=mine"
    assert found.command == f"kedro run --params '{hidden}' '***'"
