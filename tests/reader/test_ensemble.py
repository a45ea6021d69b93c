"""Several readers as one. Oracle: each reader's own logits, put together in 64 bits."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.combining import ensemble_of
from roberta_squad_pipeline.reader.ensemble import EnsembleReader
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader
from roberta_squad_pipeline.reader.storage import TrainedReader, load_reader, save_reader


@pytest.fixture
def other_reader(tiny_reader: ReaderModel) -> ReaderModel:
    """One of the same shape with other weights."""
    torch.manual_seed(3)
    return empty_reader(tiny_reader.encoder.config, 0.0, "first_token")


def test_mean_of_log_probabilities(
    tiny_reader: ReaderModel, other_reader: ReaderModel, tiny_features: Features
) -> None:
    batch = assemble(tiny_features, np.arange(5))
    readers = [tiny_reader.eval(), other_reader.eval()]
    with torch.no_grad():
        alone = [reader(batch) for reader in readers]
        together = EnsembleReader(readers)(batch)
    for name in ("start_logits", "end_logits"):
        one, other = (getattr(output, name).double().softmax(-1) for output in alone)
        found = getattr(together, name).double().exp()
        assert torch.allclose(found, (one * other).sqrt(), atol=1e-6)
        assert torch.equal(torch.isneginf(getattr(together, name)), ~batch.attention_mask)
    logits = [output.no_answer_logits for output in alone]
    assert torch.allclose(together.no_answer_logits, torch.stack(logits).mean(0))


def test_a_constant_moves_no_window(
    tiny_reader: ReaderModel, other_reader: ReaderModel, tiny_features: Features
) -> None:
    batch = assemble(tiny_features, np.arange(5))
    ensemble = EnsembleReader([tiny_reader, other_reader]).eval()
    with torch.no_grad():
        before = ensemble(batch)
        tiny_reader.span_head.bias += 40
        after = ensemble(batch)
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_its_folder_can_be_moved(
    evaluated: TrainedReader, other_reader: ReaderModel, tiny_features: Features, tmp_path: Path
) -> None:
    members = {"one": evaluated, "two": replace(evaluated, reader=other_reader)}
    trained = ensemble_of(members, evaluated.header.inference)
    save_reader(trained, tmp_path / "both")
    shutil.move(tmp_path / "both", tmp_path / "elsewhere")
    loaded = load_reader(tmp_path / "elsewhere")
    assert loaded.header.members == ("one", "two")
    assert loaded.evaluation is None
    assert loaded.members[0].evaluation == evaluated.evaluation
    batch = assemble(tiny_features, np.arange(5))
    with torch.no_grad():
        expected, found = trained.reader.eval()(batch), loaded.reader.eval()(batch)
    assert all(map(torch.equal, expected, found))
    with pytest.raises(InputError, match="got an ensemble of readers"):
        loaded.in_torch  # noqa: B018
