"""Tables in Parquet files. Oracle: pandas, which reads the file itself."""

from pathlib import Path
from unittest import mock

import pandas as pd
import pyarrow as pa
import pytest
from kedro.io import DatasetError

from roberta_squad_pipeline.datasets import ArrowTableDataset

TABLE = pa.table({"id": ["a", "b"], "score": pa.array([[9.5, -1.0], []], pa.list_(pa.float64()))})


def test_a_table_is_kept_as_it_is_and_others_can_read_it(tmp_path: Path) -> None:
    dataset = ArrowTableDataset(filepath=str(tmp_path / "new/nbest.parquet"))
    assert not dataset.exists()
    dataset.save(TABLE)
    assert dataset.exists()
    assert dataset.load().equals(TABLE)
    by_pandas = pd.read_parquet(tmp_path / "new/nbest.parquet")
    assert by_pandas["id"].tolist() == ["a", "b"]
    assert [scores.tolist() for scores in by_pandas["score"]] == [[9.5, -1.0], []]


def test_what_is_there_stays_if_saving_fails(tmp_path: Path) -> None:
    dataset = ArrowTableDataset(filepath=str(tmp_path / "nbest.parquet"))
    dataset.save(TABLE)
    with (
        mock.patch("pyarrow.parquet.write_table", side_effect=OSError("no space")),
        pytest.raises(DatasetError, match="no space"),
    ):
        dataset.save(TABLE.slice(1))
    assert dataset.load().equals(TABLE)
    assert [path.name for path in tmp_path.iterdir()] == ["nbest.parquet"]
