"""Questions that a reader is scored on while it is trained, through Kedro.

Oracle: the SQuAD files themselves, and the figures that the scorer gives for the whole of them.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from roberta_squad_pipeline.features.file import Features

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Runs = Callable[..., list[Run]]

EVALUATING = {"training.evaluate_every": 2}
DEV = "data/01_raw/demo/demo_dev.json"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def questions_by_title(path: Path) -> dict[str, set[str]]:
    return {
        article["title"]: {asked["id"] for p in article["paragraphs"] for asked in p["qas"]}
        for article in _json(path)["data"]
    }


def questions_of(features: Path) -> set[str]:
    return set(Features.open(features).question_ids.to_pylist())


def said_by(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_a_share_of_the_articles_is_held_out(project: Path, kedro: Kedro, runs: Runs) -> None:
    chosen = {"data.validation": 0.3, "training.keep": "best", "training.patience": 5}
    said = said_by(kedro(params=EVALUATING | chosen))
    by_title = questions_by_title(project / "data/01_raw/demo/demo_train.json")
    features = project / "data/04_feature/demo"
    trained = questions_of(features / "train.arrow")
    held_out = questions_of(features / "validation.arrow")
    assert trained.isdisjoint(held_out)
    assert trained | held_out == set().union(*by_title.values())
    assert len(held_out) >= 0.3 * len(trained | held_out)
    titles = [title for title, own in by_title.items() if own & held_out]
    assert all(by_title[title] <= held_out for title in titles)
    (run,) = runs()
    tags = run.data.tags
    for title in titles:
        assert title in tags["validation"]
        assert title in said
    assert (tags["selected_on"], tags["kept_update"]) in {
        ("held-out articles", "2"),
        ("held-out articles", "4"),
    }
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    curve = _json(project / "data/08_reporting/demo/training_curve.json")
    for name, values in curve["validation"].items():
        if name != "update":
            history = client.get_metric_history(run.info.run_id, f"validation/{name}")
            assert [(point.step, point.value) for point in history] == list(
                zip([2, 4], values, strict=True)
            )
    assert not _json(project / "data/06_models/demo/evaluation.json")["selected_on_data"]
    assert "validation loss" in (project / "data/08_reporting/demo/report.html").read_text("utf-8")


def test_chosen_on_dev_is_said_with_the_scores(finished_with_validation: Path, runs: Runs) -> None:
    """And the last update's validation scores are those of the evaluation after it."""
    project = finished_with_validation
    said = " ".join((project / "said.txt").read_text(encoding="utf-8").split())
    assert "depend on the dev questions, so all scores of this run on them will be" in said
    assert not (project / "data/04_feature/demo/validation.arrow").exists()
    assert _json(project / "data/06_models/demo/evaluation.json")["selected_on_data"]
    report = (project / "data/08_reporting/demo/report.html").read_text("utf-8")
    assert "decided which weights the reader has" in report
    metrics = _json(project / "data/08_reporting/demo/metrics.json")
    (run,) = runs(project)
    for name in ("exact", "f1", "best_f1"):
        assert run.data.metrics[f"validation/{name}"] == metrics[name]
    # Six passages are too few to tune a reader on.
    assert "warning: not calibrated, since" in said
    assert "are fewer than 100" in run.data.tags["warning.uncalibrated"]


def test_a_file_of_its_own(project: Path, kedro: Kedro, runs: Runs) -> None:
    """And a score that nothing was chosen by is as good as without evaluations."""
    said_by(kedro("download"))
    own = project / "own.json"
    own.write_bytes((project / DEV).read_bytes().replace(b"demo-dev", b"own"))
    params = EVALUATING | {"data.validation": "own.json"}
    said = said_by(kedro("train", params))
    expected = set().union(*questions_by_title(own).values())
    assert questions_of(project / "data/04_feature/demo/validation.arrow") == expected
    (run,) = runs()
    assert run.data.tags["validation"].startswith(f"file: {len(expected)} questions")
    assert "selected_on" not in run.data.tags
    assert run.data.params["squad_files.validation.path"].endswith("own.json")
    assert "validation after update 4: exact" in said
    # What is not there any more is not left from before.
    refused = kedro("train")
    assert refused.returncode == 1
    assert "run demo: got other settings or data than the finished run's" in refused.stderr
    said_by(kedro("train", {"overwrite": True}))
    assert not (project / "data/04_feature/demo/validation.arrow").exists()


def test_a_share_that_leaves_nothing(project: Path, kedro: Kedro) -> None:
    done = kedro("train", {"data.validation": 0.99})
    assert done.returncode == 1
    assert "Error: data.validation=0.99: got" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
