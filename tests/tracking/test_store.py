"""Addresses of MLflow's store. Oracle: written by hand."""

import pytest

from roberta_squad_pipeline.tracking.store import run_page, without_password


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host:5000/a", "http://host:5000/a"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
    ],
)
def test_password_is_not_kept(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


def test_where_a_run_is_shown() -> None:
    """At its own page, not at that of its experiment."""
    assert (
        run_page("http://me:secret@host/a/", "3", "f00") == "http://host/a/#/experiments/3/runs/f00"
    )
    local = run_page("sqlite:///mlflow.db", "1", "f00")
    assert local == "http://127.0.0.1:5000/#/experiments/1/runs/f00 (mlflow ui shows it)"
