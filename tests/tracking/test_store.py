"""Addresses of MLflow's store. Oracle: written by hand."""

import pytest

from roberta_squad_pipeline.tracking.store import without_password


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
