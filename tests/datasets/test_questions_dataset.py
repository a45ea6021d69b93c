"""The catalog's entries for questions. Oracle: what the entries say."""

import pytest
from kedro.io import DatasetError

from roberta_squad_pipeline.datasets import QuestionsDataset


def test_files_and_what_opens_them() -> None:
    dataset = QuestionsDataset(
        filepath=["s3://bucket/a.json", "b.json"],
        credentials={"secret": "hush"},
        fs_args={"anon": False},
    )
    files = dataset.load()
    assert files.paths == ("s3://bucket/a.json", "b.json")
    assert files.options == {"secret": "hush", "anon": False}
    assert "hush" not in f"{dataset} {files}"
    assert QuestionsDataset().load().paths == ()
    with pytest.raises(DatasetError):
        dataset.save(None)
