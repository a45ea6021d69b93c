"""Readers in folders, wherever they are kept.

Oracle: the weights of the reader that was logged.
"""

from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.reader.start import started_reader
from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader, save_reader
from roberta_squad_pipeline.tracking.fetching import start_folder
from roberta_squad_pipeline.tracking.models import Registration, log_model, pack_model


def test_nothing_to_start_from() -> None:
    with start_folder(None) as folder:
        assert folder is None


def test_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    with start_folder(str(tmp_path)) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize("encoder_folder", ["roberta"], indirect=True)
def test_reader_in_mlflow_is_there_for_as_long_as_it_is_needed(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    encoder_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its weights bit for bit, and a message that names the model where there is none."""
    header = ReaderHeader(
        tokenizer=tiny_features.meta.tokenizer,
        windows=tiny_features.meta.windows,
        inference=InferenceConfig(
            batch_windows=3, precision="fp32", max_answer_tokens=6, n_best=5, null_score="best_span"
        ),
        dropout=0.0,
        answerability_input="first_token",
        recipe={},
    )
    tokenizer = PassageTokenizer.load(str(encoder_folder))
    save_reader(TrainedReader(tiny_reader, tokenizer, header), tmp_path / "mine")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("qa", artifact_location=(tmp_path / "runs").as_uri())
    run_id = client.create_run(experiment).info.run_id
    pack_model(tmp_path / "mine", tmp_path / "packed", None)
    registration = Registration(name="qa", tags={}, dataset=None)
    log_model(client, run_id, tmp_path / "packed", registration, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for start in ("models:/qa/1", f"runs:/{run_id}/reader"):
        config = ModelConfig(
            start=start,
            encoder=None,
            dropout=0.0,
            attention_dropout=0.0,
            answerability_input="first_token",
        )
        with start_folder(start) as folder:
            assert folder is not None
            reader = started_reader(config, folder, max_tokens=8, vocabulary=1).reader
        assert not folder.exists()
        for name, tensor in tiny_reader.state_dict().items():
            assert torch.equal(tensor, reader.state_dict()[name])
    with pytest.raises(InputError, match=r"models:/qa/7: got no reader in sqlite:"):
        start_folder("models:/qa/7").__enter__()
