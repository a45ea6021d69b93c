"""The corridor from end to end, through Kedro itself."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors import safe_open

from spans import read_spans

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[[], list[Run]]

# The field names of the recipe's published metrics, in their order.
SHORT_WINDOWS = {
    "features.max_tokens": 64,
    "features.max_question_tokens": 20,
    "features.stride": 40,
}
"""For encoders with 64 positions."""

METRICS = [
    *("exact", "f1", "total"),
    *("HasAns_exact", "HasAns_f1", "HasAns_total"),
    *("NoAns_exact", "NoAns_f1", "NoAns_total"),
    *("best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"),
]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last_line(script: str, project: Path) -> str:
    """What Python code says last that is run in a project, in a process of its own."""
    return _last_lines(script, project)[-1]


def _last_lines(script: str, project: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project,
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.splitlines()[-9:]


def test_single_nodes_go_on_with_the_run(finished_copy: Path, command: Kedro, runs: Runs) -> None:
    """Oracle: MLflow's list of runs, with one whole run so far."""
    [whole] = runs()
    done = command("run", "--nodes", "evaluate.score_predictions")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"/runs/{whole.info.run_id}" in done.stdout
    assert "MLflow does not take" not in done.stdout
    [again] = runs()
    assert (again.info.run_id, again.info.status) == (whole.info.run_id, "FINISHED")
    assert again.info.end_time > whole.info.end_time
    assert (again.data.params, again.data.tags) == (whole.data.params, whole.data.tags)
    assert again.data.metrics == whole.data.metrics
    changed = ("--params", "inference.null_score=min_window,overwrite=true")
    done = command("run", "--nodes", "inference.predict_answers", *changed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(runs()) == 2


def test_a_run_made_node_by_node_is_recorded_as_a_whole_one(
    finished_copy: Path, kedro: Kedro, runs: Runs
) -> None:
    """One node of it fails at first. Oracle: the record of the run that was made at once."""
    [whole] = runs()

    def status_after(*names: str, ends: int = 0) -> str:
        done = kedro("", {"run": "steps", "feature_set": "demo"}, nodes=",".join(names))
        assert done.returncode == ends, done.stdout + done.stderr
        return str(runs()[0].info.status)

    other_data = {"run": "steps", "feature_set": "demo", "data.dev": "demo_train"}
    done = kedro("", other_data, nodes="train.train_reader")
    assert done.returncode == 1
    assert "features of demo: got other settings than this run's (data.dev: demo_d" in done.stderr
    assert status_after("train.train_reader") == "FINISHED"
    assert status_after("inference.predict_answers") == "FINISHED"
    features = finished_copy / "data/04_feature/demo/dev.arrow"
    features.rename(features.with_name("away"))
    assert status_after("evaluate.score_predictions", ends=1) == "FAILED"
    features.with_name("away").rename(features)
    # Whatever else succeeds.
    assert status_after("inference.predict_answers") == "FAILED"
    assert status_after("evaluate.score_predictions") == "FINISHED"
    made, _ = runs()
    for tag in ("fingerprint", "recipe", "data", "mlflow.note.content", "seed"):
        assert made.data.tags[tag] == whole.data.tags[tag], tag
    assert made.data.metrics["dev/best_f1"] == whole.data.metrics["dev/best_f1"]
    client = MlflowClient(f"sqlite:///{finished_copy / 'mlflow.db'}")
    versions = client.search_model_versions(f"run_id = '{made.info.run_id}'")
    assert ["best_f1" in version.tags for version in versions] == [True, False]


def test_what_a_run_says(finished: Path) -> None:
    """Updates and warm-up are given; the rate is scaled, 1.8e-5 * 33.3."""
    said = " ".join((finished / "said.txt").read_text(encoding="utf-8").split())
    assert "node train.train_reader" in said
    assert "Loading data" not in said, "that is for --verbose"
    assert "experiment demo to scale (globals.yml): lr 1.8e-05 \u00d7 33.3 = 0.0005994" in said


def test_outputs_of_the_whole_chain(finished: Path) -> None:
    """Oracle: the dev file that the chain itself generated."""
    passages = {
        question["id"]: paragraph["context"]
        for article in _json(finished / "data/01_raw/demo/demo_dev.json")["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }
    output = finished / "data/07_model_output/demo"
    predictions, null_odds = _json(output / "predictions.json"), _json(output / "null_odds.json")
    nbest = read_spans(output)
    assert set(predictions) == set(null_odds) == set(nbest) == set(passages)
    for question, spans in nbest.items():
        assert spans[0]["text"] == predictions[question]
        for span in spans:
            text = passages[question][span["char_start"] : span["char_end"]]
            assert text == span["text"]
    metrics = _json(finished / "data/08_reporting/demo/metrics.json")
    assert list(metrics) == METRICS
    assert metrics["total"] == len(passages)
    fitted = _json(finished / "data/08_reporting/demo/metrics_crossfit.json")
    for name in ("exact", "f1"):
        # A threshold that is chosen on the questions it is scored on cannot do worse.
        assert fitted[name] <= metrics[f"best_{name}"]
        low, high = fitted[f"{name}_interval"]
        assert low <= fitted[name] <= high
    model = finished / "data/06_models/demo"
    evaluation = _json(model / "evaluation.json")
    assert evaluation["scores"] == metrics
    assert evaluation["data_sha256"] == _sha256(finished / "data/01_raw/demo/demo_dev.json")
    # Six passages are too few to tune it on.
    assert evaluation["calibration"]["threshold"] == 0.0
    assert evaluation["calibration"]["uncalibrated"] == (
        f"{len(passages)} questions are fewer than 100"
    )
    at_threshold = evaluation["at_threshold"]
    assert at_threshold.pop("abstained") == sum(o > 0 for o in null_odds.values()) / len(passages)
    assert at_threshold == {name: metrics[name] for name in at_threshold}
    assert {path.suffix for path in model.iterdir()} <= {".json", ".safetensors", ".txt", ".jinja"}
    with safe_open(model / "model.safetensors", framework="np") as weights:
        assert {"span_head.weight", "answerability_head.3.bias"} <= set(weights.keys())


def test_kedro_viz_previews_figures_and_metrics(finished: Path) -> None:
    """Oracle: Kedro-Viz' own answers on every node; a graph with a circle has no layers."""
    script = (
        "import json\n"
        "from pathlib import Path\n"
        "from fastapi.testclient import TestClient\n"
        "from kedro_viz.api.apps import create_api_app_from_project\n"
        "from kedro_viz.server import load_and_populate_data\n"
        "load_and_populate_data(Path.cwd())\n"
        "client = TestClient(create_api_app_from_project(Path.cwd()))\n"
        "main = client.get('/api/main').json()\n"
        "nodes = {n['name']: client.get(f'/api/nodes/{n[\"id\"]}') for n in main['nodes']}\n"
        "assert all(answer.status_code == 200 for answer in nodes.values())\n"
        "kinds = {name: answer.json().get('preview_type') for name, answer in nodes.items()}\n"
        "print(json.dumps({'layers': main['layers'], 'previews': kinds}))\n"
    )
    shown = json.loads(_last_line(script, finished))
    assert shown["layers"] == ["raw", "feature", "models", "model_output", "reporting"]
    figures = {name: kind for name, kind in shown["previews"].items() if "figure_" in name}
    assert len(figures) == 6
    assert set(figures.values()) == {"PlotlyPreview"}
    assert shown["previews"]["metrics"] == "JSONPreview"
    # The pipelines are boxes.
    assert {"download", "features", "train", "inference", "evaluate"} <= shown["previews"].keys()


def test_kedro_viz_knows_how_long_each_node_took(finished: Path) -> None:
    """Oracle: the nodes of the whole chain, by Kedro-Viz' own record."""
    events = _json(finished / ".viz/kedro_pipeline_events.json")
    done = {event["node"] for event in events if event["event"] == "after_node_run"}
    assert {"train.train_reader", "evaluate.write_report"} <= done


def test_what_is_tracked(finished: Path) -> None:
    """Oracle: the files and parameters of the run itself."""
    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    [experiment] = client.search_experiments(filter_string="name = 'roberta_squad_pipeline'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    params, tags = run.data.params, run.data.tags
    assert run.info.run_name == tags["experiment"] == params["experiment"] == "demo"
    assert params["training.updates"] == "4"
    assert params["training.betas"] == "[0.9, 0.98]"
    for split in ("train", "dev"):
        path = finished / f"data/01_raw/demo/demo_{split}.json"
        assert params[f"squad_files.{split}.sha256"] == _sha256(path)
        assert params[f"squad_files.{split}.size_bytes"] == str(path.stat().st_size)
    assert {"mlflow.source.git.commit", "git.tree"} <= set(tags)
    for name, value in _json(finished / "data/08_reporting/demo/metrics.json").items():
        assert run.data.metrics[f"dev/{name}"] == value
    crossfit = _json(finished / "data/08_reporting/demo/metrics_crossfit.json")
    assert run.data.metrics["dev/cross_fitted_f1"] == crossfit["f1"]
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [loss.step for loss in losses] == [1, 2, 3, 4]
    lowest = client.get_metric_history(run.info.run_id, "train/lr_lowest")
    highest = client.get_metric_history(run.info.run_id, "train/lr_highest")
    assert 0 < lowest[0].value < highest[0].value
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts == {
        *("configuration.yml", "evaluation.json", "metrics.json", "metrics_crossfit.json"),
        "metrics_signature.json",
        *("null_odds.json", "predictions.json", "questions.parquet", "report.html"),
    }
    inputs = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert {split: one.name for split, one in inputs.items()} == {
        "train": "demo_train.json",
        "dev": "demo_dev.json",
    }
    digest = inputs["dev"].digest
    assert params["squad_files.dev.sha256"].startswith(digest)
    assert tags["mlflow.note.content"].startswith("best F1 ")
    best = client.get_model_version_by_alias("roberta_squad_pipeline", "best")
    score = run.data.metrics["dev/best_f1"]
    commit = tags["mlflow.source.git.commit"]
    expected = {"run": "demo", "git": commit, "best_f1": f"{score:.2f}", "data": digest}
    assert best.tags == expected
    of_model = {
        one.key: one.value
        for one in client.get_logged_model(run.outputs.model_outputs[0].model_id).metrics
    }
    assert of_model["dev/best_f1"] == score


def test_step_by_step_gives_the_same_bytes(
    finished: Path,
    project: Path,
    tiny: dict[str, Any],
    fork: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    runs: Runs,
) -> None:
    """As a script or Airflow does it: sessions of one process, from another folder.

    Oracle: the files of the whole chain in one run; each pipeline finds the earlier one's.
    """
    script = tmp_path_factory.mktemp("script") / "steps.py"
    script.write_text(
        "import sys\n"
        "from kedro.framework.session import KedroSession\n"
        "from kedro.framework.startup import bootstrap_project\n"
        "bootstrap_project(sys.argv[1])\n"
        "for name in ('train', 'inference', 'evaluate'):\n"
        f"    with KedroSession.create(sys.argv[1], runtime_params={tiny}) as session:\n"
        "        session.run(pipeline_names=[name])\n"
    )
    run = fork([project], script.parent, program=script)
    said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    tracked = [run.data.tags["kedro.pipelines"] for run in runs()]
    assert tracked == ["evaluate", "inference", "train"]
    assert not list((project / "data/.locks").glob("*.json"))
    for folder in ("06_models", "07_model_output", "08_reporting"):
        found = sorted((project / "data" / folder / "demo").rglob("*"))
        written = [path for path in found if path.is_file()]
        assert written
        for path in written:
            other = finished / path.relative_to(project)
            if path.name == "settings.json":  # it has the id of the run in MLflow, too
                mine, theirs = (json.loads(each.read_bytes()) for each in (path, other))
                for of_mlflow in ("mlflow_run", "trained_as"):
                    assert mine.pop(of_mlflow) != theirs.pop(of_mlflow)
                assert mine == theirs
            else:
                assert path.read_bytes() == other.read_bytes(), path.name


def test_evaluate_imports_no_torch_and_agrees_with_the_score_command(finished_copy: Path) -> None:
    """Oracle: the score command on the files that the chain wrote."""
    metrics_file = finished_copy / "data/08_reporting/demo/metrics.json"
    metrics_file.unlink()
    # A reader that was trained elsewhere leaves none.
    (finished_copy / "data/08_reporting/demo/training_curve.json").unlink()
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kedro.framework.project import settings\n"
        "from kedro.framework.startup import bootstrap_project\n"
        "bootstrap_project(Path.cwd())\n"
        "with settings.SESSION_CLASS.create() as session:\n"
        "    session.run(pipeline_names=['evaluate'])\n"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    said = _last_lines(script, finished_copy)
    report = finished_copy / "data/08_reporting/demo/report.html"
    assert f"report: {report.as_uri()}" in said
    assert 'id="figure-threshold"' in report.read_text(encoding="utf-8")
    assert 'id="figure-training"' not in report.read_text(encoding="utf-8")
    output = finished_copy / "data/07_model_output/demo"
    scored = subprocess.run(
        [
            *(sys.executable, "-m", "roberta_squad_pipeline.evaluation.score"),
            finished_copy / "data/01_raw/demo/demo_dev.json",
            output / "predictions.json",
            *("--na-prob-file", output / "null_odds.json", "--na-prob-thresh", "0"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(scored.stdout) == _json(metrics_file)


def test_real_passages_with_the_real_tokenizer(
    project: Path, kedro: Kedro, shared: Path, random_roberta: Path
) -> None:
    """Oracle: the sample's own passages and questions."""
    dev = shared / "squad/dev-sample.json"
    done = kedro(
        params={
            "run": "sample",
            "data.train": shared / "squad/train-sample.json",
            "data.dev": dev,
            "model.encoder": random_roberta,
            "features.max_tokens": 512,
            "features.max_question_tokens": 128,
            "features.stride": 128,
        }
    )
    assert done.returncode == 0, done.stderr
    metrics = _json(project / "data/08_reporting/sample/metrics.json")
    assert (metrics["total"], metrics["HasAns_total"], metrics["NoAns_total"]) == (815, 404, 411)
    predictions = _json(project / "data/07_model_output/sample/predictions.json")
    for article in _json(dev)["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                assert predictions[question["id"]] in paragraph["context"]


def test_squad_1_1_goes_through_the_chain_with_a_bert(
    project: Path, kedro: Kedro, bert_folder: Path
) -> None:
    """Oracle: the official scorer leaves out the figures of a kind that does not occur."""
    passage = "Mill Bridge crosses the Wend. It was opened in 1823."
    asked = [("Which river does Mill Bridge cross?", "Wend"), ("When did it open?", "1823")]
    questions = [
        {
            "id": str(number),
            "question": question,
            "answers": [{"text": answer, "answer_start": passage.index(answer)}],
        }
        for number, (question, answer) in enumerate(asked)
    ]
    squad = {"version": "1.1", "data": [{"paragraphs": [{"context": passage, "qas": questions}]}]}
    (project / "squad11.json").write_text(json.dumps(squad))
    given = {"data.train": "squad11.json", "data.dev": "squad11.json", "model.encoder": bert_folder}
    done = kedro(params=given | SHORT_WINDOWS)
    assert done.returncode == 0, done.stderr
    metrics = _json(project / "data/08_reporting/demo/metrics.json")
    assert list(metrics) == [name for name in METRICS if not name.startswith("NoAns")]
