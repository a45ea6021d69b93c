"""What an evaluation found out about a reader; it travels in the reader's folder."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED, Calibration
from roberta_squad_pipeline.evaluation.no_answer import (
    HEAD_ALONE,
    NoAnswerWeights,
    unfitted_weights,
)
from roberta_squad_pipeline.reader.config import InferenceConfig, InferenceParameters

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.file import Features


class AnsweredWith(InferenceConfig):
    """What predictions were made from and how; it lies beside them."""

    features_sha256: str

    @property
    def inference(self) -> InferenceConfig:
        """How they were made."""
        return InferenceConfig(**self.model_dump(exclude={"features_sha256"}))


class Tuning(StrictModel):
    """What gives a reader's scores their meaning, and the data that it was fitted on."""

    no_answer_weights: NoAnswerWeights
    """What makes one no-answer score of the reader's two logits."""
    calibration: Calibration
    data_sha256: str | None
    """None: it was fitted on no data."""


class Evaluation(StrictModel):
    """Scores with what they belong to, and what gives scores of other questions their meaning."""

    format_version: Literal[2] = 2
    version: str
    """Of the package that scored."""
    data: str
    """Path of the SQuAD file."""
    data_sha256: str
    questions: int
    inference: InferenceConfig
    """How the spans were searched and scored, the rule for the no-answer score included."""
    scores: dict[str, float | int]
    """The official scorer's report: at threshold 0, and at the best threshold of this data."""
    selected_on_data: bool = False
    """Whether scores on this very data decided which update was the last or kept, so that all of
    these scores are optimistic."""
    cross_fitted_f1: float | None
    """At thresholds that were chosen on other passages, in per cent; None where there are too few
    passages."""
    no_answer_weights: NoAnswerWeights
    """What makes one no-answer score of the reader's two logits."""
    calibration: Calibration
    tuned_elsewhere: bool = False
    """Whether weights, threshold and calibration were fitted before, on other data, and only
    applied to these."""
    at_threshold: dict[str, float | int] | None = None
    """The official scorer's report at the reader's own threshold, and `abstained`, the share of
    questions that it abstains on there, 0 to 1."""


def read_evaluation(written: Mapping[str, Any]) -> Evaluation:
    """Reads a saved evaluation; one of an older version is brought up to date.

    Raises:
        ValueError: It is of another kind.
        KeyError: It says nothing of its version.
    """
    evaluation = dict(written)
    if evaluation["format_version"] == 1:
        # It knew no score but the answerability head's.
        evaluation |= {"format_version": 2, "no_answer_weights": HEAD_ALONE.model_dump()}
    return Evaluation.model_validate_json(json.dumps(evaluation))


def kept_tuning(
    own: Evaluation | None,
    data_sha256: str,
    inference: InferenceParameters,
    *,
    run: str,
    reader: str | None,
    calibrate: bool,
) -> Tuning | None:
    """What stays of a reader's threshold and calibration when it answers a dev file.

    Args:
        own: The reader's evaluation so far.
        data_sha256: Of the dev file.
        inference: How it is to answer.
        run: The run's name.
        reader: Name of another run whose reader answers; None: the run's own.
        calibrate: Whether the reader is to be tuned on this file, whatever it was tuned on before.

    Returns:
        None where threshold and calibration are to be fitted on this file.

    Raises:
        InputError: The run's own reader was tuned on another file, or another run's reader is to
            answer in another way than it was tuned for.
    """
    if calibrate:
        return None
    if reader is None:
        if own is not None and own.data_sha256 != data_sha256:
            raise InputError(
                where=f"run {run}",
                got=f"a reader that was evaluated on {own.data} (sha256 {own.data_sha256[:12]}), "
                f"and another dev file (sha256 {data_sha256[:12]})",
                expected="the same dev file, since scores, threshold and calibration would be "
                "replaced",
                remedy=f"Score it under a name of its own: kedro evaluate --run {run} --data FILE "
                "--as NAME. Or have the reader tuned on the new file: --params calibrate=true",
            )
        return None
    if own is None:
        weights = unfitted_weights(inference.null_score)
        return Tuning(no_answer_weights=weights, calibration=UNCALIBRATED, data_sha256=None)
    unlike = inference.unlike(own.inference, apart_from=("batch_windows", "precision"))
    if unlike:
        raise InputError(
            where="parameter inference",
            got=unlike,
            expected=f"what the reader of {reader} was tuned with, since its threshold holds for "
            "no other way",
            remedy=f"Set the same, as kedro evaluate --run {reader} does by itself; or have the "
            "reader tuned anew: --params calibrate=true",
        )
    return Tuning(
        no_answer_weights=own.no_answer_weights,
        calibration=own.calibration,
        data_sha256=own.data_sha256,
    )


def check_predictions(
    answered_with: Mapping[str, Any],
    features: "Features",
    inference: InferenceParameters,
    *,
    run: str,
) -> None:
    """Checks that predictions were made from these features and with these settings.

    Args:
        answered_with: What lies beside the predictions.
        features: Opened from a file.
        inference: The run's settings.
        run: Its name.

    Raises:
        InputError: They are of other features, other settings or another release.
    """
    try:
        made = AnsweredWith.model_validate(answered_with)
    except ValidationError:
        got = "predictions that do not say what they were made of"
    else:
        unlike = _alike_in_logits(inference).unlike(
            _alike_in_logits(made), apart_from=("batch_windows",)
        )
        if made.features_sha256 == features_sha256(features) and not unlike:
            return
        got = f"predictions made with {unlike}" if unlike else "predictions of other features"
    raise InputError(
        where=f"run {run}",
        got=got,
        expected="predictions of its dev features, with its settings",
        remedy="Predict again, with the same --params: kedro run --pipelines inference,evaluate",
    )


def features_sha256(features: "Features") -> str:
    """The sha256 of the file that features were opened from."""
    if features.path is None:
        raise ValueError("predictions can only be told to be of features that are a file")
    return sha256_of(features.path)


def _alike_in_logits(inference: InferenceParameters) -> InferenceParameters:
    # A combined score is made of the logits that best_span keeps, after the prediction.
    if inference.null_score != "combined":
        return inference
    return inference.model_copy(update={"null_score": "best_span"})
