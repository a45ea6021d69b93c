"""What of a reader's evaluation stays, and which predictions are scored. Oracle: by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED
from roberta_squad_pipeline.evaluation.no_answer import HEAD_ALONE
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.config import InferenceParameters
from roberta_squad_pipeline.reader.evaluation import (
    AnsweredWith,
    Evaluation,
    check_predictions,
    features_sha256,
    kept_tuning,
    read_evaluation,
)
from roberta_squad_pipeline.reader.storage import TrainedReader

Kept = Callable[..., Any]


@pytest.fixture
def own(evaluated: TrainedReader) -> Evaluation:
    """On a dev file whose sha256 is all zeros."""
    assert evaluated.evaluation is not None
    return evaluated.evaluation


def kept(own: Evaluation | None, sha256: str, **given: Any) -> Any:
    inference = InferenceParameters(
        batch_windows=64,
        precision="auto",
        max_answer_tokens=6,
        n_best=given.pop("n_best", 5),
        null_score=given.pop("null_score", "min_window"),
    )
    named = {"run": "mine", "reader": None, "calibrate": False} | given
    return kept_tuning(own, sha256, inference, **named)


def test_a_run_tunes_its_own_reader(own: Evaluation) -> None:
    """For the first time, again on the same file, and on another one if that is asked for."""
    assert kept(None, "1" * 64) is None
    assert kept(own, "0" * 64) is None
    assert kept(own, "1" * 64, calibrate=True) is None
    assert kept(own, "1" * 64, calibrate=True, reader="theirs") is None


def test_its_own_reader_keeps_what_another_file_said(own: Evaluation) -> None:
    with pytest.raises(InputError, match=r"kedro evaluate --run mine --data FILE --as NAME"):
        kept(own, "1" * 64)


def test_another_runs_reader_keeps_its_tuning(own: Evaluation) -> None:
    """On its own dev file, too; other windows per batch and another precision do not matter."""
    for sha256 in ("0" * 64, "1" * 64):
        tuning = kept(own, sha256, reader="theirs")
        assert tuning.calibration == own.calibration
        assert tuning.no_answer_weights == own.no_answer_weights
    with pytest.raises(InputError, match=r"n_best 5 instead of 9.*kedro evaluate --run theirs"):
        kept(own, "1" * 64, reader="theirs", n_best=9)


def test_another_runs_reader_that_was_never_evaluated() -> None:
    tuning = kept(None, "1" * 64, reader="theirs", null_score="combined")
    assert tuning.calibration == UNCALIBRATED
    assert tuning.no_answer_weights == HEAD_ALONE


@pytest.fixture
def features(tiny_features: Features, tmp_path: Path) -> Features:
    """As if they had been opened from a file."""
    path = tmp_path / "dev.arrow"
    path.write_bytes(b"features")
    return replace(tiny_features, path=path)


def test_predictions_of_these_features_and_settings(own: Evaluation, features: Features) -> None:
    assert features.path is not None
    assert features_sha256(features) == sha256_of(features.path)
    made = AnsweredWith(**own.inference.model_dump(), features_sha256=features_sha256(features))
    settings = InferenceParameters(**own.inference.model_dump() | {"precision": "auto"})
    fewer = settings.model_copy(update={"batch_windows": 1})
    for fine in (own.inference, settings, fewer):
        check_predictions(made.model_dump(), features, fine, run="mine")
    refused: dict[str, dict[str, Any]] = {
        "predictions from other features": {"features_sha256": "0" * 64},
        "predictions made with n_best 9 instead of 5": {"n_best": 9},
        "predictions made with null_score best_span instead of min_window": {
            "null_score": "best_span"
        },
    }
    for said, other in refused.items():
        with pytest.raises(InputError, match=f"{said}.*--pipelines inference,evaluate"):
            check_predictions(made.model_dump() | other, features, settings, run="mine")
    with pytest.raises(InputError, match="without a record of how they were made"):
        check_predictions({"precision": "fp32"}, features, settings, run="mine")
    bf16 = settings.model_copy(update={"precision": "bf16"})
    with pytest.raises(InputError, match="precision fp32 instead of bf16"):
        check_predictions(made.model_dump(), features, bf16, run="mine")


def test_both_logits_of_best_span_make_a_combined_score(
    own: Evaluation, features: Features
) -> None:
    settings = own.inference.model_copy(update={"null_score": "best_span"})
    combined = settings.model_copy(update={"null_score": "combined"})
    sha256 = features_sha256(features)
    for one, other in ((settings, combined), (combined, settings)):
        made = AnsweredWith(**one.model_dump(), features_sha256=sha256)
        check_predictions(made.model_dump(), features, other, run="mine")


def test_features_that_are_no_file(tiny_features: Features) -> None:
    with pytest.raises(ValueError, match="features that are a file"):
        features_sha256(tiny_features)


def test_an_evaluation_of_before_is_read(own: Evaluation) -> None:
    """Without what was not known then."""
    written = own.model_dump(mode="json", exclude={"tuned_elsewhere", "at_threshold"})
    assert read_evaluation(written) == own
