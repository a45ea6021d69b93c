"""Readers as MLflow models.

Oracle: what MLflow says of the model, for a folder that only looks like a reader's.
"""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.models import Model

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking.fetching import reader_folder
from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun
from roberta_squad_pipeline.tracking.models import (
    Registration,
    log_model,
    pack_model,
    score_model,
)

QA = Registration(
    name="qa",
    tags={"run": "mine", "git": "abc", "best_f1": "80.00", "data": "d1"},
    dataset=("dev.json", "d1"),
)


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
    pack_model(folder, packed, None)
    scores = [("dev/f1", 80.0, 1, 0)]
    client.log_batch(run_id, metrics=[Metric(*scores[0])])
    client.set_tag(run_id, "mlflow.source.name", "kedro run")
    for _ in range(2):
        log_model(client, run_id, packed, QA, scores)
    [version] = client.search_model_versions("name = 'qa'")
    [logged] = client.search_logged_models([experiment])
    assert (version.run_id, version.source) == (run_id, logged.artifact_location)
    assert logged.status == "READY"
    assert logged.tags["mlflow.source.name"] == "kedro run"
    [named] = json.loads(logged.tags["mlflow.modelVersions"])
    assert (named["name"], int(named["version"])) == ("qa", int(version.version))
    assert version.tags == QA.tags
    [metric] = client.get_logged_model(logged.model_id).metrics
    assert (metric.key, metric.value, metric.dataset_name) == ("dev/f1", 80.0, "dev.json")
    assert len(client.get_metric_history(run_id, "dev/f1")) == 1
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
        with reader_folder(source) as fetched:
            assert (fetched / "reader.json").read_text() == "{}"
        assert not fetched.exists()
    with pytest.raises(InputError, match=r"models:/qa/7: got no reader in sqlite:"):
        reader_folder("models:/qa/7").__enter__()


def test_scores_of_another_run_stand_with_the_model(store: tuple[str, str, str]) -> None:
    """Oracle: what MLflow says of the model and of the run, however often it is sent."""
    uri, experiment, trained = store
    client = MlflowClient(uri)
    model = client.create_logged_model(experiment, "reader", trained)
    run_id = client.create_run(experiment).info.run_id
    scores = [("dev/f1", 70.0, 1, 0)]
    client.log_batch(run_id, metrics=[Metric(*scores[0])])
    for _ in range(2):
        score_model(client, run_id, model.model_id, ("held.json", "d2"), scores)
    [metric] = client.get_logged_model(model.model_id).metrics
    assert (metric.value, metric.dataset_name, metric.run_id) == (70.0, "held.json", run_id)
    [used] = client.get_run(run_id).inputs.model_inputs
    assert used.model_id == model.model_id


def test_alias_moves_to_better_versions_on_the_same_questions(
    store: tuple[str, str, str], folder: Path, tmp_path: Path
) -> None:
    """Oracle: by hand; the first version that has scores gets it."""
    uri, experiment, _ = store
    client = MlflowClient(uri)
    packed = tmp_path / "reader"
    pack_model(folder, packed, None)
    scored = [
        ({}, None),
        ({"best_f1": "70.00", "data": "d1"}, 2),
        ({"best_f1": "69.99", "data": "d1"}, 2),
        ({"best_f1": "99.00", "data": "d2"}, 2),
        ({"best_f1": "100.00", "data": "d1"}, 5),
        ({}, 5),
    ]
    for tags, best in scored:
        packed.with_name("model_id").unlink(missing_ok=True)
        run_id = client.create_run(experiment).info.run_id
        log_model(client, run_id, packed, Registration(name="al", tags=tags, dataset=None), [])
        aliases = client.get_registered_model("al").aliases
        assert {name: int(version) for name, version in aliases.items()} == (
            {} if best is None else {"best": best}
        )


def test_run_sends_its_model_in_the_end(
    store: tuple[str, str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, experiment, _ = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    run = MlflowRun(uri, client.create_run(experiment).info.run_id, experiment, tmp_path / "unsent")
    example = {"question": "Who?", "passage": "He."}
    run.log_model(folder, QA.model_copy(update={"name": "other"}), example)
    run.end("FINISHED")
    [version] = client.search_model_versions("name = 'other'")
    assert version.run_id == run.run_id
    with reader_folder(f"runs:/{run.run_id}/reader") as fetched:
        model = fetched.parents[1]
        assert Model.load(str(model)).load_input_example(str(model)).to_dict("records") == [example]
    assert list((tmp_path / "unsent").iterdir()) == []


def test_folder_that_is_not_there_costs_the_model_alone(
    store: tuple[str, str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri, experiment, _ = store
    client = MlflowClient(uri)
    run = MlflowRun(uri, client.create_run(experiment).info.run_id, experiment, tmp_path / "unsent")
    run.log_model(tmp_path / "nothing", QA, None)
    run.end("FINISHED")
    assert "is not a model in MLflow" in caplog.text
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert client.search_model_versions("name = 'none'") == []
