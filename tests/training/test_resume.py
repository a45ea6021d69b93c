"""Which checkpoints a run goes on from.

Oracle: a setting that is changed or not.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import Distillation, TrainingConfig
from roberta_squad_pipeline.training.resume import attempt_folder, remove_finished, settings_of
from roberta_squad_pipeline.training.validation import Validation

MODEL = ModelConfig(
    start=None,
    encoder="encoder",
    dropout=0.1,
    attention_dropout=0.1,
    answerability_input="first_token",
)


def changed(recipe: TrainingConfig, **changes: object) -> TrainingConfig:
    return TrainingConfig(**recipe.model_dump() | changes)


@pytest.fixture
def settings(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> dict[str, Any]:
    return settings_of(tiny_reader, tiny_features, None, MODEL, recipe)


def test_same_settings_same_folder_and_the_earlier_run_is_known(
    settings: dict[str, Any], recipe: TrainingConfig, tmp_path: Path
) -> None:
    folder, previous = attempt_folder(tmp_path, settings, recipe, run_id="first")
    assert previous is None
    (folder / "update-000001").mkdir()
    assert attempt_folder(tmp_path, settings, recipe, run_id="second") == (folder, "first")
    assert attempt_folder(tmp_path, settings, recipe, run_id="third") == (folder, "second")
    assert (folder / "update-000001").is_dir()
    anew = changed(recipe, resume="never")
    assert attempt_folder(tmp_path, settings, anew, run_id="fourth") == (folder, None)
    assert not (folder / "update-000001").exists()


@pytest.mark.parametrize(
    "changes",
    [{"micro_batch": 1}, {"checkpoint_every": 3}, {"resume": "never"}, {"evaluate_every": 2}],
)
def test_what_does_not_change_results_does_not_tell_runs_apart(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    settings: dict[str, Any],
    recipe: TrainingConfig,
    changes: dict[str, Any],
) -> None:
    other = settings_of(tiny_reader, tiny_features, None, MODEL, changed(recipe, **changes))
    assert other == settings


def test_every_other_setting_tells_runs_apart_and_is_named(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    settings: dict[str, Any],
    recipe: TrainingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the recipe, the model, the data, and the weights that training starts from."""
    others = {
        f"training.{name}": changed(recipe, **{name: value})
        for name, value in {
            "updates": 21,
            "batch_size": 4,
            "lr": 0.002,
            "layer_decay": 0.5,
            "precision": "bf16",
            "seed": 2,
            "max_grad_norm": 1.0,
            "distil": Distillation(weight=0.5, temperature=2.0, teacher="another", unlabelled=None),
        }.items()
    }
    found = {
        name: settings_of(tiny_reader, tiny_features, None, MODEL, training)
        for name, training in others.items()
    }
    model = MODEL.model_copy(update={"dropout": 0.2})
    found["model.dropout"] = settings_of(tiny_reader, tiny_features, None, model, recipe)
    with torch.no_grad():
        tiny_reader.span_head.bias[0] += 1
    other_heads = settings_of(tiny_reader, tiny_features, None, MODEL, recipe)
    found["model.first_weights.heads"] = other_heads
    data = json.loads(json.dumps(settings))
    data["features"]["data_sha256"] = "1" * 64
    found["features.data_sha256"] = data
    folders = {attempt_folder(tmp_path, settings, recipe, run_id=None)[0]}
    for name, other in found.items():
        caplog.clear()
        folders.add(attempt_folder(tmp_path, other, recipe, run_id=None)[0])
        assert f"({name}: " in caplog.text
    assert len(folders) == len(found) + 1


def test_what_decides_which_update_is_kept_tells_runs_apart(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    inference: InferenceConfig,
) -> None:
    """The settings of the choice, and what and how is scored."""
    chosen = changed(recipe, evaluate_every=2, keep="best", patience=2)
    meta = tiny_features.meta.model_copy(update={"data_sha256": "1" * 64})
    others = [
        (Validation(tiny_features, inference), changed(chosen, evaluate_every=3)),
        (Validation(tiny_features, inference), changed(chosen, keep="last")),
        (Validation(tiny_features, inference), changed(chosen, patience=3)),
        (Validation(replace(tiny_features, meta=meta), inference), chosen),
        (
            Validation(tiny_features, inference.model_copy(update={"max_answer_tokens": 3})),
            chosen,
        ),
        (Validation(tiny_features, inference), chosen),
        (None, recipe),
    ]
    found = [
        json.dumps(settings_of(tiny_reader, tiny_features, validation, MODEL, training))
        for validation, training in others
    ]
    assert len(set(found)) == len(others)


def test_folder_that_cannot_be_written_to(
    settings: dict[str, Any], recipe: TrainingConfig, tmp_path: Path
) -> None:
    """A file stands where the folder is to be: nobody may write there, not even root."""
    (tmp_path / "demo").touch()
    with pytest.raises(InputError, match=r"demo/.*: got .*a folder that can be written to"):
        attempt_folder(tmp_path / "demo", settings, recipe, run_id=None)


def test_only_the_finished_run_s_checkpoints_are_removed(
    settings: dict[str, Any], recipe: TrainingConfig, tmp_path: Path
) -> None:
    root = tmp_path / "demo"
    mine, _ = attempt_folder(root, settings, recipe, run_id="mine")
    other, _ = attempt_folder(root, settings | {"model": "other"}, recipe, run_id="other")
    remove_finished(root, "mine")
    assert [mine.exists(), other.exists()] == [False, True]
    remove_finished(root, "other")
    assert not root.exists()
