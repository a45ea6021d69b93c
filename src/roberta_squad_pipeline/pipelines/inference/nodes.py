"""Answers the dev questions."""

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.progress import progress
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.reader.config import InferenceParameters

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.reader.storage import TrainedReader
else:
    # Kedro resolves the hints of its nodes, which must load nothing heavy.
    Features = TrainedReader = Any

_logger = logging.getLogger(__name__)


def predict_answers(
    trained: TrainedReader,
    features: Features,
    inference: InferenceParameters,
    distributed: DistributedConfig,
    run: str,
    reader: str | None,
    calibrate: bool,
) -> dict[str, dict[str, Any]]:
    """Predicts the best spans and no-answer logits of every question.

    Returns:
        `predictions` (id → text), `no_answer_logits` (id → logits of both heads, high = no answer),
        `nbest` (id → spans, best first) and `answered_with`, the settings and the features' hash.

    Raises:
        InputError: The features were made with another tokenizer or in another order, or their
            scores would replace those of the reader on another file (see `kept_tuning`).
    """
    from roberta_squad_pipeline.inference.job import run_inference
    from roberta_squad_pipeline.reader.device import available_device, fast_precision
    from roberta_squad_pipeline.reader.evaluation import (
        AnsweredWith,
        features_sha256,
        kept_tuning,
    )
    from roberta_squad_pipeline.reader.storage import check_features

    check_features(features, trained.header)
    # Now, before hours are spent on predictions that could not be scored.
    kept_tuning(
        trained.evaluation,
        features.meta.data_sha256,
        inference,
        run=run,
        reader=reader,
        calibrate=calibrate,
    )
    device = available_device()
    config = inference.resolved(fast_precision(device))
    if inference.precision == "auto":
        _logger.info("inference.precision auto: %s on this %s", config.precision, device.type)
    answered_with = AnsweredWith(**config.model_dump(), features_sha256=features_sha256(features))
    with progress("predict", len(features.windows.question), "windows") as advance:
        predictions = list(
            run_inference(
                trained,
                features,
                config,
                distributed,
                name=run,
                on_windows=lambda windows: advance(windows, ""),
            )
        )
    return {
        "predictions": {p.question_id: p.texts[0] for p in predictions},
        "no_answer_logits": {p.question_id: p.no_answer_logits for p in predictions},
        "nbest": {
            p.question_id: [dataclasses.asdict(candidate) for candidate in p.candidates]
            for p in predictions
        },
        "answered_with": answered_with.model_dump(),
    }
