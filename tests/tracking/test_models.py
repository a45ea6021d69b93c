"""Readers as MLflow models.

Oracle: what MLflow says of the model, for a folder that only looks like a reader's.
"""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun
from roberta_squad_pipeline.tracking.models import fetched_reader, log_model, pack_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A store's URI, an experiment and a run in it."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("qa", artifact_location=(folder / "runs").as_uri())
    return uri, experiment, client.create_run(experiment).info.run_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reader = tmp_path_factory.mktemp("readers") / "mine"
    reader.mkdir()
    (reader / "reader.json").write_text("{}")
    return reader


def test_model_is_logged_once_however_often_it_is_sent(
    store: tuple[str, str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signature and example are in it, this package's code, and no pickle."""
    uri, experiment, run_id = store
    client = MlflowClient(uri)
    packed = tmp_path / "reader"
    pack_model(folder, packed)
    for _ in range(2):
        log_model(client, run_id, packed, "qa")
    [version] = client.search_model_versions("name = 'qa'")
    [logged] = client.search_logged_models([experiment])
    assert (version.run_id, version.source) == (run_id, logged.artifact_location)
    assert logged.status == "READY"
    [output] = client.get_run(run_id).outputs.model_outputs
    assert output.model_id == logged.model_id
    described = Model.load(str(packed))
    assert described.model_id == logged.model_id
    assert described.signature.inputs.input_names() == ["question", "passage"]
    assert described.signature.outputs.input_names()[:4] == [
        *("answer", "best_span", "char_start", "char_end"),
    ]
    assert list(described.load_input_example(str(packed))) == ["question", "passage"]
    files = [path for path in packed.rglob("*") if path.is_file()]
    assert not [path.name for path in files if path.suffix in {".pkl", ".pickle", ".pyc", ".bin"}]
    assert (packed / "code/roberta_squad_pipeline/inference/answering.py").is_file()

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for source in ("models:/qa/1", "models:/qa/latest", f"runs:/{run_id}/reader"):
        with fetched_reader(source) as fetched:
            assert (fetched / "reader.json").read_text() == "{}"
        assert not fetched.exists()
    with pytest.raises(InputError, match=r"models:/qa/7: got no reader in sqlite:"):
        fetched_reader("models:/qa/7").__enter__()


def test_run_sends_its_model_in_the_end(
    store: tuple[str, str, str], folder: Path, tmp_path: Path
) -> None:
    uri, experiment, _ = store
    client = MlflowClient(uri)
    run = MlflowRun(uri, client.create_run(experiment).info.run_id, tmp_path / "unsent")
    run.log_model(folder, "other")
    run.end("FINISHED")
    [version] = client.search_model_versions("name = 'other'")
    assert version.run_id == run.run_id
    assert list((tmp_path / "unsent").iterdir()) == []


def test_folder_that_is_not_there_costs_the_model_alone(
    store: tuple[str, str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri, experiment, _ = store
    client = MlflowClient(uri)
    run = MlflowRun(uri, client.create_run(experiment).info.run_id, tmp_path / "unsent")
    run.log_model(tmp_path / "nothing", "none")
    run.end("FINISHED")
    assert "is not a model in MLflow" in caplog.text
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert client.search_model_versions("name = 'none'") == []
