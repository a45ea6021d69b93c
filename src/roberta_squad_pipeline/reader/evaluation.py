"""The result of a reader's evaluation; stored in the reader's folder."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED, Calibration, Tuning
from roberta_squad_pipeline.evaluation.no_answer import HEAD_ALONE, NoAnswerWeights
from roberta_squad_pipeline.reader.config import InferenceConfig, InferenceParameters

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.file import Features


class AnsweredWith(InferenceConfig):
    """How predictions were made, and from which features; stored beside them."""

    features_sha256: str


class Evaluation(StrictModel):
    """Scores with what they were measured on, and the reader's tuning."""

    format_version: Literal[2] = 2
    version: str
    """Version of the package that computed the scores."""
    data: str
    """Path of the SQuAD file."""
    data_sha256: str
    questions: int
    inference: InferenceConfig
    """How spans were searched and scored, including the rule for the no-answer score."""
    scores: dict[str, float | int]
    """The official scorer's report, at threshold 0 and at the best threshold for this data."""
    selected_on_data: bool = False
    """Whether scores on the same data decided which update was the last or kept, so that all these
    scores are optimistic."""
    cross_fitted_f1: float | None
    """F1 in per cent at thresholds that were chosen on other passages; None if there are too few
    passages."""
    no_answer_weights: NoAnswerWeights
    """The weights of the reader's two logits in its no-answer score."""
    calibration: Calibration
    tuned_elsewhere: bool = False
    """Whether weights, threshold and calibration were fitted on other data, and only applied to
    this data."""
    at_threshold: dict[str, float | int] | None = None
    """The official scorer's report at the reader's own threshold, and `abstained`, the share of
    questions on which it abstains, 0 to 1."""


def read_evaluation(written: Mapping[str, Any]) -> Evaluation:
    """Reads a saved evaluation, and upgrades one of an older format version.

    Raises:
        ValueError: It has another content.
        KeyError: It has no format version.
    """
    evaluation = dict(written)
    if evaluation["format_version"] == 1:
        # In version 1, the answerability head's logit was the only score.
        evaluation |= {"format_version": 2, "no_answer_weights": HEAD_ALONE.model_dump()}
    return Evaluation.model_validate(evaluation)


def kept_tuning(
    own: Evaluation | None,
    data_sha256: str,
    inference: InferenceParameters,
    *,
    run: str,
    reader: str | None,
    calibrate: bool,
) -> Tuning | None:
    """Decides whether a reader keeps its threshold and calibration on a dev file.

    Args:
        own: The reader's evaluation so far.
        data_sha256: Hash of the dev file.
        inference: How the reader answers.
        run: The run's name.
        reader: Name of another run whose reader answers; None for the run's own reader.
        calibrate: Whether the reader is tuned on this file, whatever it was tuned on before.

    Returns:
        The tuning to keep; None if it is fitted on this file.

    Raises:
        InputError: The run's own reader was tuned on another file, or another run's reader would
            answer with other settings than it was tuned with.
    """
    if calibrate:
        return None
    if reader is None:
        if own is not None and own.data_sha256 != data_sha256:
            raise InputError(
                where=f"run {run}",
                got=f"a reader that was evaluated on {own.data} (sha256 {own.data_sha256[:12]}), "
                f"and another dev file (sha256 {data_sha256[:12]})",
                expected="the same dev file, since its scores, threshold and calibration would be "
                "replaced",
                remedy=f"Score it under another name: kedro evaluate --run {run} --data FILE "
                "--as NAME. Or tune the reader on the new file: --params calibrate=true",
            )
        return None
    if own is None:
        return Tuning(no_answer_weights=HEAD_ALONE, calibration=UNCALIBRATED)
    unlike = inference.unlike(own.inference, apart_from=("batch_windows", "precision"))
    if unlike:
        raise InputError(
            where="parameter inference",
            got=unlike,
            expected=f"the settings that the reader of {reader} was tuned with, since its "
            "threshold is valid only for these",
            remedy=f"Use the same settings, as kedro evaluate --run {reader} does; or tune the "
            "reader again: --params calibrate=true",
        )
    return Tuning(no_answer_weights=own.no_answer_weights, calibration=own.calibration)


def check_predictions(
    answered_with: Mapping[str, Any],
    features: "Features",
    inference: InferenceParameters,
    *,
    run: str,
) -> None:
    """Checks that predictions were made from these features and with these settings.

    Args:
        answered_with: The record beside the predictions.
        features: The features, opened from a file.
        inference: The run's settings.
        run: The run's name.

    Raises:
        InputError: They were made from other features, with other settings or by another release.
    """
    try:
        made = AnsweredWith.model_validate(answered_with)
    except ValidationError:
        got = "predictions without a record of how they were made"
    else:
        unlike = _alike_in_logits(inference).unlike(
            _alike_in_logits(made), apart_from=("batch_windows",)
        )
        if made.features_sha256 == features_sha256(features) and not unlike:
            return
        got = f"predictions made with {unlike}" if unlike else "predictions from other features"
    raise InputError(
        where=f"run {run}",
        got=got,
        expected="predictions from its dev features, with its settings",
        remedy="Predict again, with the same --params: kedro run --pipelines inference,evaluate",
    )


def features_sha256(features: "Features") -> str:
    """The sha256 of the file that features were opened from."""
    if features.path is None:
        raise ValueError("predictions can only be told to be of features that are a file")
    return sha256_of(features.path)


def _alike_in_logits(inference: InferenceParameters) -> InferenceParameters:
    # A combined score is computed afterwards, from the logits of best_span.
    if inference.null_score != "combined":
        return inference
    return inference.model_copy(update={"null_score": "best_span"})
