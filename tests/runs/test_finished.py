"""Finished runs, and what is refused because of them.

Oracle: settings that are changed one by one, by hand.
"""

from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Pipeline

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.pipelines.ensemble.pipeline import create_pipeline as combining
from roberta_squad_pipeline.pipelines.evaluate.pipeline import create_pipeline as evaluation
from roberta_squad_pipeline.pipelines.inference.pipeline import create_pipeline as inference
from roberta_squad_pipeline.pipelines.train.pipeline import create_pipeline as training
from roberta_squad_pipeline.runs.finished import (
    MadeOf,
    check_features,
    check_replacement,
    keep,
    keep_features,
    keep_undone,
    last_session,
    made_of,
    of_files,
)
from roberta_squad_pipeline.runs.parameters import load_parameters
from roberta_squad_pipeline.runs.plan import RunPlan
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

CHAIN = training() + inference() + evaluation()
SCORING = inference() + evaluation()


def made(
    changes: dict[str, Any],
    pipeline: Pipeline = CHAIN,
    *,
    with_features: bool = True,
    readers: Path = Path("nowhere"),
) -> MadeOf:
    loader = OmegaConfigLoader("conf", env="base", runtime_params=changes, **CONFIG_LOADER_ARGS)
    catalog = {"readers": {"filepath": readers}}
    plan = RunPlan(Path(), load_parameters(loader), catalog, pipeline, Redaction(), None)
    return made_of(plan, with_features=with_features)


@pytest.mark.parametrize(
    ("changes", "pipeline", "builds", "said"),
    [
        ({}, CHAIN, True, None),
        ({"training": {"micro_batch": 1, "resume": "never"}}, CHAIN, True, None),
        ({"inference": {"batch_windows": 1}}, CHAIN, True, None),
        ({"distributed": {"processes": 2}}, CHAIN, True, None),
        ({"training": {"lr": 0.5}}, CHAIN, True, r"run demo: .*\(training.lr: \S+ there, 0.5 here"),
        # What is not read changes nothing.
        ({"training": {"lr": 0.5}, "data": {"dev": "other"}}, SCORING, False, None),
        ({"inference": {"n_best": 3}}, SCORING, False, r"run demo: .*n_best: 20 there, 3 here\)"),
        ({"features": {"stride": 9}}, Pipeline([]), True, r"features of run demo: .*stride"),
        (
            {"data": {"dev": "other"}},
            CHAIN,
            True,
            r"features of run demo: .*data.dev: demo_dev t",
        ),
        ({"features": {"stride": 9}, "feature_set": "x"}, Pipeline([]), True, None),
    ],
)
def test_what_would_replace_a_finished_run(
    tmp_path: Path, changes: dict[str, Any], pipeline: Pipeline, builds: bool, said: str | None
) -> None:
    folder = tmp_path / "demo"
    keep(made({}), folder)
    before = (folder / "settings.json").read_bytes()
    mine = made(changes, pipeline, with_features=builds)
    check_replacement(mine, tmp_path, run="other", builds=False)
    if said is None:
        check_replacement(mine, tmp_path, run="demo", builds=builds)
        keep(mine, folder)
        if not {"feature_set", "features"} & changes.keys():
            assert (folder / "settings.json").read_bytes() == before
    else:
        with pytest.raises(InputError, match=said):
            check_replacement(mine, tmp_path, run="demo", builds=builds)


def test_a_file_of_the_same_name_and_other_content(tmp_path: Path) -> None:
    one, two = (of_files(made({}), {"dev": {"sha256": name}}) for name in ("one", "two"))
    keep(one, tmp_path / "mine")
    check_replacement(one, tmp_path, run=None, builds=True)
    # Not known yet.
    check_replacement(made({}), tmp_path, run="mine", builds=True)
    with pytest.raises(InputError, match=r"features of run mine: .*\(sha256.dev: one there, two h"):
        check_replacement(two, tmp_path, run=None, builds=True)


def test_a_reader_of_the_same_name_and_other_weights(tmp_path: Path) -> None:
    """Whatever a run takes of another one: a member, its teacher, the reader that it evaluates."""
    readers, scores = tmp_path / "readers", tmp_path / "scores"
    for name in ("a_1", "a_2", "both"):
        (readers / name).mkdir(parents=True)
        (readers / name / "reader.json").touch()
        (readers / name / "model.safetensors").write_text(name)
    ensemble = {"ensemble": {"members": ["a_*"]}, "run": "both"}
    distil = {"distil": {"teacher": str(readers / "a_1")}}
    of: list[tuple[dict[str, Any], Pipeline]] = [
        (ensemble, combining()),
        (distil, training()),
        ({"reader": "a_1"}, SCORING),
    ]
    for number, (changes, pipeline) in enumerate(of):
        keep(made(changes, pipeline, readers=readers), scores / str(number))
    (readers / "both/model.safetensors").write_text("another")
    for number, (changes, pipeline) in enumerate(of):
        mine = made(changes, pipeline, readers=readers)
        check_replacement(mine, scores, run=str(number), builds=False)
    (readers / "a_1/model.safetensors").write_text("another")
    for number, (changes, pipeline) in enumerate(of):
        mine = made(changes, pipeline, readers=readers)
        with pytest.raises(InputError, match=r"weights\S*: \w+ there, \w+ here"):
            check_replacement(mine, scores, run=str(number), builds=False)


def test_features_of_other_settings_are_not_trained_on(tmp_path: Path) -> None:
    check_features(made({}, training()), tmp_path, builds=True)  # there is no record of them
    keep_features(made({}), tmp_path)
    # Encoders with the same tokenizer may share them.
    other = made({"model": {"encoder": "other"}}, training())
    check_features(other, tmp_path, builds=False)
    with pytest.raises(InputError, match=r"features of demo: .* \(model.encoder: \S+ there, other"):
        check_features(other, tmp_path, builds=True)
    mine = made({"data": {"dev": "mine"}, "feature_set": "x"}, training())
    with pytest.raises(InputError, match=r"features of x: .* \(data.dev: demo_dev there, mine h"):
        check_features(mine, tmp_path, builds=False)
    more = made({"distil": {"unlabelled": "more.jsonl"}}, training())
    with pytest.raises(InputError, match=r"\(distil.unlabelled: None there, more.jsonl here\)"):
        check_features(more, tmp_path, builds=False)


def test_step_by_step_as_at_once(tmp_path: Path) -> None:
    files = {"dev": {"sha256": "one"}}
    keep(of_files(made({}), files), tmp_path / "once")
    keep(of_files(made({}, training()), files), tmp_path / "steps")
    keep(made({}, inference(), with_features=False), tmp_path / "steps")
    keep(made({}, evaluation(), with_features=False), tmp_path / "steps")
    once, steps = ((tmp_path / name / "settings.json").read_bytes() for name in ("once", "steps"))
    assert once == steps


def test_the_last_session(tmp_path: Path) -> None:
    keep_undone({"a"}, tmp_path)
    assert last_session(made({}), tmp_path) is None
    for run in ("first", "last"):
        keep(made({}).model_copy(update={"mlflow_run": run}), tmp_path)
    for same in (
        made({}),
        made({}, evaluation(), with_features=False),
        made({"training": {"lr": 0.5}}, SCORING),
    ):
        found = last_session(same, tmp_path)
        assert found is not None
        assert (found.mlflow_run, found.undone) == ("last", ())
    for other in ({"inference": {"n_best": 3}}, {"feature_set": "x"}, {"features": {"stride": 9}}):
        assert last_session(made(other), tmp_path) is None
    keep_undone({"b", "a"}, tmp_path)
    assert last_session(made({}), tmp_path) == found.model_copy(update={"undone": ("a", "b")})
