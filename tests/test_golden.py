"""What this release saved is read by every later one, and predicts what it predicted.

Oracle: the files under golden/, which golden/make.py made.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.features.build import build_features
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import Prediction, predict
from roberta_squad_pipeline.reader.storage import TrainedReader, load_reader
from roberta_squad_pipeline.squad.dataset import read_squad

GOLDEN = Path(__file__).parent / "golden"

pytestmark = pytest.mark.usefixtures("one_thread")


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trained() -> TrainedReader:
    return load_reader(GOLDEN / "reader")


def answers(trained: TrainedReader, features: Features) -> list[Prediction]:
    import torch

    device = torch.device("cpu")
    config = trained.header.inference
    return list(predict(trained.reader, features, config, device=device, on_windows=lambda _: None))


def check_predictions(predictions: list[Prediction]) -> None:
    assert [one.question_id for one in predictions] == list(golden("predictions"))
    for one in predictions:
        assert one.candidates[0].text == golden("predictions")[one.question_id]
        # Processors add up in different orders.
        assert one.no_answer_logit == pytest.approx(golden("null_odds")[one.question_id], abs=1e-4)
        for candidate, expected in zip(
            one.candidates, golden("nbest")[one.question_id], strict=True
        ):
            assert candidate.score == pytest.approx(expected["score"], abs=1e-4)
            span = (candidate.char_start, candidate.char_end, candidate.text)
            assert span == (expected["char_start"], expected["char_end"], expected["text"])


def test_saved_features_and_reader_predict_what_they_did(trained: TrainedReader) -> None:
    check_predictions(answers(trained, Features.open(GOLDEN / "features.arrow")))


def test_features_are_built_as_they_were(trained: TrainedReader) -> None:
    """Of the same file, with the tokenizer of the saved reader; and they predict the same."""
    saved = Features.open(GOLDEN / "features.arrow")
    path = GOLDEN / "squad.json"
    windows = saved.meta.windows
    built = Features.from_batch(
        build_features(
            read_squad(path, on_misaligned="error").passages,
            tokenizer=trained.tokenizer,
            windows=windows,
            source=str(path),
            data_sha256=saved.meta.data_sha256,
        )
    )
    same_place = {"tokenizer": saved.meta.tokenizer}
    assert built.meta.model_copy(update=same_place) == saved.meta
    assert built.meta.tokenizer.sha256 == saved.meta.tokenizer.sha256
    assert built.question_ids.to_pylist() == saved.question_ids.to_pylist()
    np.testing.assert_array_equal(built.window_tokens, saved.window_tokens)
    check_predictions(answers(trained, built))


def test_scores_are_what_they_were() -> None:
    gold = read_squad(GOLDEN / "squad.json", on_misaligned="error").gold
    report = squad_report(
        gold, golden("predictions"), no_answer_scores=golden("null_odds"), threshold=0.0
    )
    assert report == golden("metrics")


def test_it_stays_small() -> None:
    files = [path for path in GOLDEN.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert sum(path.stat().st_size for path in files) < 100_000
