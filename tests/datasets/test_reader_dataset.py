"""A reader in the catalog is whole or not there."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import DatasetError

from roberta_squad_pipeline.datasets import ReaderDataset


def test_what_is_not_there(tmp_path: Path) -> None:
    dataset = ReaderDataset(filepath=str(tmp_path / "reader"))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="no reader that loads"):
        dataset.load()


def test_a_save_that_fails_leaves_the_earlier_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the folder as it was."""
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "reader.json").write_text("earlier")

    def fails(trained: Any, target: Path) -> None:
        target.mkdir()
        (target / "reader.json").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr("roberta_squad_pipeline.reader.storage.save_reader", fails)
    with pytest.raises(DatasetError, match="disk full"):
        ReaderDataset(filepath=str(folder)).save(object())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["reader"]
    assert (folder / "reader.json").read_text() == "earlier"
