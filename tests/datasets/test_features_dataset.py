"""Features on disk.

Oracle: the features before they were saved; for views, a change made to the file behind them.
"""

import dataclasses
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from kedro.io import DatasetError

from roberta_squad_pipeline.common.errors import InputError, causes
from roberta_squad_pipeline.datasets import FeaturesDataset
from roberta_squad_pipeline.features.file import Features

ROWS = ("passages.tokens", "passages.char_start", "passages.char_end", "question_tokens")
DERIVED = {"question_passage", "question_tokens_cut", "windows.question"} | {
    f"{rows}.{part}" for rows in ROWS for part in ("begins", "lengths")
}
"""Worked out from the file's offsets at opening; everything else is a view."""


def arrays_of(part: Any, name: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """All arrays of features, by name."""
    if isinstance(part, np.ndarray):
        yield name, part
    elif isinstance(part, tuple):
        for number, item in enumerate(part):
            yield from arrays_of(item, f"{name}[{number}]")
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            inner = f"{name}.{field.name}".removeprefix(".")
            yield from arrays_of(getattr(part, field.name), inner)


def reader_of(batch: pa.RecordBatch) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


@pytest.fixture
def saved(tmp_path: Path, tiny_batch: pa.RecordBatch) -> FeaturesDataset:
    dataset = FeaturesDataset(filepath=str(tmp_path / "made" / "train.arrow"))
    assert not dataset.exists()
    dataset.save(reader_of(tiny_batch))
    assert dataset.exists()
    return dataset


def test_what_is_saved_comes_back(saved: FeaturesDataset, tiny_batch: pa.RecordBatch) -> None:
    before, after = Features.from_batch(tiny_batch), saved.load()
    assert after.meta == before.meta
    assert after.passage_texts.equals(before.passage_texts)
    assert after.question_ids.equals(before.question_ids)
    expected, got = dict(arrays_of(before)), dict(arrays_of(after))
    assert expected.keys() == got.keys()
    assert got.keys() > DERIVED
    for name, array in got.items():
        assert array.dtype == (np.int64 if name.endswith("begins") else np.int32)
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_arrays_are_views_into_the_file(saved: FeaturesDataset, tmp_path: Path) -> None:
    """Nothing is allocated, and what is written to the file shows in the arrays."""
    allocated = pa.total_allocated_bytes()
    features = saved.load()
    assert pa.total_allocated_bytes() == allocated
    views = {name: array for name, array in arrays_of(features) if name not in DERIVED}
    assert not any(array.flags.owndata or array.flags.writeable for array in views.values())
    assert all(array.any() for array in views.values())
    overwrite_with_zeros(tmp_path / "made" / "train.arrow")
    assert not any(array.any() for array in views.values())
    assert features.passage_texts.to_numpy(zero_copy_only=False)[1] == ""


def overwrite_with_zeros(path: Path) -> None:
    """Keeps the file's length, so that the mapping stays valid."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        content[:] = bytes(len(content))


def test_nothing_is_padded(
    saved: FeaturesDataset, tiny_batch: pa.RecordBatch, tmp_path: Path
) -> None:
    """The file is the columns and Arrow's own framing, aligned to 64 bytes."""
    assert (tmp_path / "made" / "train.arrow").stat().st_size < tiny_batch.nbytes + 8000


def test_interrupted_save_leaves_the_old_file(
    saved: FeaturesDataset,
    tmp_path: Path,
    tiny_batch: pa.RecordBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pa, "OSFile", break_off)
    with pytest.raises(KeyboardInterrupt):
        saved.save(reader_of(tiny_batch))
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["train.arrow"]
    assert saved.load().meta == Features.from_batch(tiny_batch).meta


def test_failing_build_leaves_the_old_file(
    saved: FeaturesDataset, tmp_path: Path, tiny_batch: pa.RecordBatch
) -> None:
    """What is wrong with a passage is known when the pieces before it are written."""
    fault = InputError(where="train.json", got="a fault", expected="none", remedy="Mend it.")

    def batches() -> Iterator[pa.RecordBatch]:
        yield tiny_batch
        raise fault

    before = (tmp_path / "made/train.arrow").read_bytes()
    with pytest.raises(DatasetError) as caught:
        saved.save(pa.RecordBatchReader.from_batches(tiny_batch.schema, batches()))
    assert fault in causes(caught.value)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["train.arrow"]
    assert (tmp_path / "made/train.arrow").read_bytes() == before


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "dev.arrow"
    path.write_text("not Arrow")
    with pytest.raises(DatasetError, match=r"dev\.arrow"):
        FeaturesDataset(filepath=str(path)).load()
