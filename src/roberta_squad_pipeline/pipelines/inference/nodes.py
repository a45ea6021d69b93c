"""Answers the dev questions."""

import dataclasses
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.progress import progress
from roberta_squad_pipeline.reader.config import InferenceConfig

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.storage import TrainedReader
    from roberta_squad_pipeline.squad.features import Features
else:
    # Kedro resolves the hints of its nodes, which must load nothing heavy.
    Features = TrainedReader = Any


def predict_answers(
    trained: TrainedReader,
    features: Features,
    inference: InferenceConfig,
    distributed: DistributedConfig,
    run: str,
) -> dict[str, dict[str, Any]]:
    """Best spans and no-answer logits of every question.

    Returns:
        `predictions` (id → text), `no_answer_logits` (id → those of both heads, high = no answer)
        and `nbest` (id → spans, best first).

    Raises:
        InputError: The features were made with another tokenizer or in another order.
    """
    from roberta_squad_pipeline.reader.job import run_inference
    from roberta_squad_pipeline.reader.storage import check_features

    check_features(features, trained.header)
    with progress("predict", len(features.windows.question), "windows") as advance:
        predictions = list(
            run_inference(
                trained,
                features,
                inference,
                distributed,
                name=run,
                on_windows=lambda windows: advance(windows, ""),
            )
        )
    return {
        "predictions": {p.question_id: p.texts[0] for p in predictions},
        "no_answer_logits": {
            p.question_id: {"head": p.no_answer_logit, "span": p.span_no_answer_logit}
            for p in predictions
        },
        "nbest": {
            p.question_id: [dataclasses.asdict(candidate) for candidate in p.candidates]
            for p in predictions
        },
    }
