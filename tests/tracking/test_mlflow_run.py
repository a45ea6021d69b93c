"""Oracle: what MLflow itself says of the run."""

import json
import math
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun, open_run, reopen_run
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.store import connected
from roberta_squad_pipeline.tracking.tracker import Journal

NOTE = "mlflow.note.content"
CODE = Provenance(
    user="someone", command="kedro run --env mine", git_commit="abc", git_tree="clean"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowRun:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_run(Journal(project, "qa", project / "unsent"), "first", CODE, {"kind": "test"})


def test_where_a_run_comes_from(run: MlflowRun, client: MlflowClient) -> None:
    tags = client.get_run(run.run_id).data.tags
    assert tags["mlflow.user"] == "someone"
    assert (tags["mlflow.source.name"], tags["command"]) == ("kedro run", "kedro run --env mine")
    assert tags["mlflow.source.git.commit"] == "abc"
    assert (tags["git.tree"], tags["kind"]) == ("clean", "test")


def test_one_that_ended_goes_on(run: MlflowRun, client: MlflowClient, project: Path) -> None:
    run.end("FAILED")

    def reopened(experiment: str = "qa", **tags: str) -> MlflowRun | None:
        return reopen_run(Journal(project, experiment, project / "unsent"), tags, run.run_id)

    assert reopened("other") is None
    assert reopened(kind="other") is None
    again = reopened(kind="test")
    assert again is not None
    assert (again.run_id, again.pages) == (run.run_id, run.pages)
    assert client.get_run(run.run_id).info.status == "RUNNING"
    again.end("FINISHED")
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_parameters_are_flattened_and_may_be_many(run: MlflowRun, client: MlflowClient) -> None:
    """Oracle: MLflow refuses more than a hundred parameters in one call."""
    run.log_params({"a": {"b": {"c": 1}, "d": [0.9, 0.98]}, "e": None})
    run.log_params({"many": {str(number): number for number in range(150)}})
    run.end("FINISHED")
    params = client.get_run(run.run_id).data.params
    assert params.items() >= {"a.b.c": "1", "a.d": "[0.9, 0.98]", "e": "None"}.items()
    assert sum(name.startswith("many.") for name in params) == 150


def test_metrics_arrive_while_the_run_is_open(run: MlflowRun, client: MlflowClient) -> None:
    run.log_metrics({"loss": 3.0}, step=1)
    run.log_metrics({"loss": 2.0}, step=2)
    deadline = time.monotonic() + 300
    while len(client.get_metric_history(run.run_id, "loss")) < 2:
        assert time.monotonic() < deadline, "metrics do not arrive"
        time.sleep(0.1)
    history = client.get_metric_history(run.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 3.0), (2, 2.0)]
    assert client.get_run(run.run_id).info.status == "RUNNING"


def test_end_writes_what_is_left(run: MlflowRun, client: MlflowClient) -> None:
    run.log_metrics({"loss": math.pi}, step=1)
    run.end("KILLED")
    ended = client.get_run(run.run_id)
    assert (ended.info.status, ended.data.metrics) == ("KILLED", {"loss": math.pi})


def test_files_are_kept_under_the_project(
    run: MlflowRun, client: MlflowClient, project: Path, tmp_path: Path
) -> None:
    """Oracle: the project's mlruns/, wherever the command was started."""
    (tmp_path / "metrics.json").write_text("{}")
    run.log_file(tmp_path / "metrics.json")
    run.log_text("a: 1", "configuration.yml")
    run.end("FINISHED")
    names = {artifact.path for artifact in client.list_artifacts(run.run_id)}
    assert names == {"metrics.json", "configuration.yml"}
    assert list((project / "mlruns").rglob("metrics.json"))


def test_a_server_that_is_not_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: port 9 of this machine, on which nothing listens."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9: got no answer"):
        open_run(Journal(project, "qa", project / "unsent"), "x", CODE, {})


def test_deleted_experiment(
    run: MlflowRun, project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = client.create_experiment("gone")
    client.delete_experiment(deleted)
    with pytest.raises(InputError, match=f"got a deleted experiment.*restore -x {deleted}"):
        open_run(Journal(project, "gone", project / "unsent"), "x", CODE, {})


def test_questions_scores_and_load(
    run: MlflowRun, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The experiment says which score counts and how its runs are listed."""
    monkeypatch.setattr("roberta_squad_pipeline.tracking.mlflow_run._SECONDS_BETWEEN_LOADS", 0.1)
    run.watch_machine()
    file = {"path": "folder/a.json", "size_bytes": 3, "sha256": "0123456789abcdef"}
    for _ in range(2):
        run.log_datasets({"train": file, "dev": file | {"sha256": "f" * 64}})
    run.describe(["best F1 81.6", "681 questions"])
    time.sleep(0.5)
    run.end("FINISHED")
    ended = client.get_run(run.run_id)
    inputs = {one.tags[0].value: one.dataset for one in ended.inputs.dataset_inputs}
    assert len(ended.inputs.dataset_inputs) == 2
    assert (inputs["train"].name, inputs["train"].digest) == ("a.json", "0123456789ab")
    assert json.loads(inputs["dev"].profile) == {"sha256": "f" * 64, "size_bytes": 3}
    assert ended.data.tags["mlflow.note.content"] == "best F1 81.6\n\n681 questions"
    assert ended.data.metrics["system/system_memory_usage_megabytes"] > 0
    tags = client.get_experiment(ended.info.experiment_id).tags
    assert tags["mlflow.experiment.primaryMetric.name"] == "dev/best_f1"
    view = json.loads(json.loads(tags["mlflow.sharedViewState.scores"])["state"])
    assert "metrics.`dev/best_f1`" in view["selectedColumns"]


def test_a_note_on_the_experiment_is_kept(
    run: MlflowRun, client: MlflowClient, project: Path
) -> None:
    experiment = client.get_run(run.run_id).info.experiment_id
    assert "viewStateShareKey=scores" in client.get_experiment(experiment).tags[NOTE]
    client.set_experiment_tag(experiment, NOTE, "ours")
    open_run(Journal(project, "qa", project / "unsent"), "second", CODE, {}).end("FINISHED")
    assert client.get_experiment(experiment).tags[NOTE] == "ours"


def test_run_that_was_killed_is_told_by_the_one_that_carries_it_on(
    run: MlflowRun, project: Path, client: MlflowClient
) -> None:
    """Its spool, too, is done with: nothing of it is left on disk."""
    killed = client.create_run(client.get_run(run.run_id).info.experiment_id)
    run.supersedes(killed.info.run_id)
    run.end("FINISHED")
    before = client.get_run(killed.info.run_id)
    assert before.info.status == "KILLED"
    assert before.data.tags["resumed_by"] == run.run_id
    assert client.get_run(run.run_id).data.tags["resumes"] == killed.info.run_id
    assert not (project / "unsent" / run.run_id).exists()


def open_and_end(project: Path, name: str, gate: Barrier) -> None:
    gate.wait()
    open_run(Journal(project, "new", project / "unsent"), name, CODE, {}).end("FINISHED")


def test_several_processes_make_one_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forks, which start within a moment of each other and need not import MLflow."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    fork = multiprocessing.get_context("fork")
    gate = fork.Barrier(3)
    processes = [fork.Process(target=open_and_end, args=(tmp_path, name, gate)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [found] = client.search_experiments(filter_string="name = 'new'")
    runs = client.search_runs([found.experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == dict.fromkeys("abc", "FINISHED")


def test_another_run_tags_the_experiment_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store then refuses to insert the tag a second time; other refusals are told."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    usual = MlflowClient.set_experiment_tag

    def too_late(client: MlflowClient, experiment_id: str, key: str, value: str) -> None:
        usual(client, experiment_id, key, value)
        raise MlflowException("UNIQUE constraint failed: experiment_tags.key")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", too_late)
    gate = multiprocessing.get_context("fork").Barrier(1)
    open_and_end(tmp_path, "a", gate)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [found] = client.search_experiments(filter_string="name = 'new'")
    assert [run.info.status for run in client.search_runs([found.experiment_id])] == ["FINISHED"]

    def refused(*_: object) -> None:
        raise MlflowException("no right to")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refused)
    (tmp_path / "other").mkdir()
    with pytest.raises((InputError, MlflowException), match="no right to"):
        open_and_end(tmp_path / "other", "b", gate)


def test_database_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'missing/mlflow.db'}")
    with pytest.raises(InputError, match=r"missing/mlflow.db: got No such file or directory"):
        connected(tmp_path).__enter__()
