"""A trained reader, tuned on nothing real."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.model import ReaderModel
    from roberta_squad_pipeline.reader.storage import TrainedReader
    from roberta_squad_pipeline.squad.features import Features


@pytest.fixture
def evaluated(
    tiny_reader: "ReaderModel", tiny_features: "Features", encoder_folder: Path
) -> "TrainedReader":
    """A reader with an evaluation whose threshold lies among its own scores."""
    from roberta_squad_pipeline.reader.config import InferenceConfig
    from roberta_squad_pipeline.reader.evaluation import Evaluation
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader
    from roberta_squad_pipeline.reader.tokenization import load_tokenizer
    from roberta_squad_pipeline.squad.calibration import UNCALIBRATED, PlattScale
    from roberta_squad_pipeline.squad.no_answer import HEAD_ALONE

    inference = InferenceConfig(
        batch_windows=3, precision="fp32", max_answer_tokens=6, n_best=5, null_score="min_window"
    )
    header = ReaderHeader(
        tokenizer=tiny_features.meta.tokenizer,
        windows=tiny_features.meta.windows,
        inference=inference.model_copy(update={"max_answer_tokens": 1}),
        dropout=0.125,
        recipe={"model": {"encoder": "tiny"}, "training": {"lr": 3e-5}},
    )
    calibration = UNCALIBRATED.model_copy(
        update={"threshold": -0.1, "no_answer": PlattScale(slope=0.5, intercept=0.25)}
    )
    evaluation = Evaluation(
        version="0.1.0",
        data="data/01_raw/dev.json",
        data_sha256="0" * 64,
        questions=8,
        inference=inference,
        scores={"exact": 25.0, "f1": 37.5, "total": 8, "best_f1": 50.0, "best_f1_thresh": -0.1},
        cross_fitted_f1=None,
        no_answer_weights=HEAD_ALONE,
        calibration=calibration,
    )
    tokenizer = load_tokenizer(str(encoder_folder))
    return TrainedReader(tiny_reader, tokenizer, header, evaluation=evaluation)
