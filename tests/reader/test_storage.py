"""A trained reader on disk.

Oracle: the reader that was saved; the folder's own files.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.reader.storage import (
    ReaderHeader,
    TrainedReader,
    check_features,
    load_reader,
    save_reader,
)

INFERENCE = InferenceConfig(
    batch_windows=3, precision="fp32", max_answer_tokens=6, n_best=5, null_score="best_span"
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(
    tiny_reader: ReaderModel, tiny_features: Features, encoder_folder: Path
) -> TrainedReader:
    with torch.no_grad():
        # As after training, no weight is what it was in the encoder's own folder.
        for parameter in tiny_reader.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    header = ReaderHeader(
        tokenizer=tiny_features.meta.tokenizer,
        windows=tiny_features.meta.windows,
        inference=INFERENCE,
        dropout=0.125,
        answerability_input="first_token",
        recipe={"encoder": "tiny"},
    )
    return TrainedReader(tiny_reader, PassageTokenizer.load(str(encoder_folder)), header)


@pytest.fixture
def folder(trained: TrainedReader, tmp_path: Path) -> Path:
    save_reader(trained, tmp_path / "saved" / "reader")
    return tmp_path / "saved" / "reader"


def test_round_trip_changes_no_logit(
    trained: TrainedReader, folder: Path, tiny_features: Features
) -> None:
    loaded = load_reader(folder)
    assert loaded.header == trained.header
    batch = assemble(tiny_features, np.arange(5))
    with torch.no_grad():
        outputs = [one.reader.eval()(batch) for one in (trained, loaded)]
    for before, after in zip(*outputs, strict=True):
        assert torch.equal(before, after)


def test_round_trip_keeps_settings_and_tokenizer(trained: TrainedReader, folder: Path) -> None:
    """Texts become the same ids, so that features can be built with the saved tokenizer."""
    loaded = load_reader(folder)
    assert loaded.tokenizer.identity.sha256 == trained.header.tokenizer.sha256
    assert loaded.reader.answerability_head[2].p == 0.125
    before, after = (
        reader.encoder.config.to_diff_dict() for reader in (trained.reader, loaded.reader)
    )
    for settings in (before, after):
        # Which version wrote it, and from where it came, are no settings.
        for key in ("_name_or_path", "transformers_version", "architectures"):
            settings.pop(key, None)
    assert before == after


def test_nothing_in_the_folder_is_a_pickle(folder: Path) -> None:
    """Pickles begin with byte 128 from protocol 2 on, and torch's are zip files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt"}
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]
    assert not [path for path in files if path.read_bytes()[:2] == b"PK"]


def test_saving_twice_gives_the_same_bytes(
    trained: TrainedReader, folder: Path, tmp_path: Path
) -> None:
    save_reader(trained, tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def removed(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("damage", [removed, cut_off])
@pytest.mark.parametrize(
    "name", ["reader.json", "model.safetensors", "config.json", "tokenizer.json"]
)
def test_damaged_folder_is_named(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(InputError) as caught:
        load_reader(folder)
    assert caught.value.where == str(folder)
    assert caught.value.remedy == "Train one: kedro run --pipeline train"


def test_misspelt_name_of_a_reader(folder: Path) -> None:
    """Oracle: the name of the reader that lies beside it."""
    with pytest.raises(InputError) as caught:
        load_reader(folder.with_name(folder.name[:-1]))
    assert caught.value.remedy == (
        f"Did you mean {folder.name}? Train one: kedro run --pipeline train"
    )


def test_weights_of_another_reader_are_refused(folder: Path, encoder_folder: Path) -> None:
    shutil.copy(encoder_folder / "model.safetensors", folder)
    with pytest.raises(InputError, match=r"no reader that loads.*kedro run --pipeline train"):
        load_reader(folder)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (1, "version 1, of an older release; expected format version 4. Train one: kedro run"),
        (5, "version 5, of a newer release; expected format version 4. Install the newer release"),
    ],
)
def test_other_version_is_refused(folder: Path, version: int, said: str) -> None:
    header = json.loads((folder / "reader.json").read_text())
    (folder / "reader.json").write_text(json.dumps(header | {"format_version": version}))
    with pytest.raises(InputError) as caught:
        load_reader(folder)
    assert f"{folder}: got format {said}" in str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
def test_an_older_reader_reads_as_the_published_series(
    folder: Path, trained: TrainedReader, tiny_features: Features, version: int
) -> None:
    """Its header as that version wrote it: of version 2 neither an order nor a number of
    separators, of either no input of the answerability head."""
    header = json.loads((folder / "reader.json").read_text())
    header["format_version"] = version
    del header["answerability_input"]
    if version == 2:
        del header["windows"]["order"]
        del header["tokenizer"]["special_tokens"]["pair_separators"]
    (folder / "reader.json").write_text(json.dumps(header))
    loaded = load_reader(folder).header
    assert loaded.windows == trained.header.windows
    assert (loaded.windows.order, loaded.answerability_input) == ("passage_first", "first_token")


def test_features_in_another_order_are_refused(
    trained: TrainedReader, tiny_features: Features
) -> None:
    check_features(tiny_features, trained.header)
    windows = trained.header.windows.model_copy(update={"order": "question_first"})
    header = trained.header.model_copy(update={"windows": windows})
    with pytest.raises(InputError, match=r"passage_first.*--params features.order=question_first"):
        check_features(tiny_features, header)


@pytest.mark.parametrize("exists", [True, False])
def test_folder_without_a_reader_is_named(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "reader"
    if exists:
        folder.mkdir()
    with pytest.raises(InputError) as caught:
        load_reader(folder)
    assert caught.value.where == str(folder)
    assert caught.value.remedy == "Train one: kedro run --pipeline train"
