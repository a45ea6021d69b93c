"""Turns SQuAD files into features."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from roberta_squad_pipeline.parameters import DataConfig
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.squad.dataset import SquadDataset, read_squad
from roberta_squad_pipeline.squad.features import Features, build_features
from roberta_squad_pipeline.squad.windows import WindowConfig

_logger = logging.getLogger(__name__)


def build_train_features(
    files: dict[str, dict[str, Any]], data: DataConfig, windows: WindowConfig, model: ModelConfig
) -> pa.RecordBatch:
    """Features of the training questions."""
    return _build("train", files, data, windows, model)


def build_dev_features(
    files: dict[str, dict[str, Any]], data: DataConfig, windows: WindowConfig, model: ModelConfig
) -> pa.RecordBatch:
    """Features of the dev questions."""
    return _build("dev", files, data, windows, model)


def _build(
    split: str,
    files: dict[str, dict[str, Any]],
    data: DataConfig,
    windows: WindowConfig,
    model: ModelConfig,
) -> pa.RecordBatch:
    from roberta_squad_pipeline.reader.tokenization import (
        encode_passages,
        encode_questions,
        identity,
        load_tokenizer,
    )

    path = Path(files[split]["path"])
    dataset = read_squad(path, on_misaligned=data.on_misaligned)
    tokenizer = load_tokenizer(model.encoder)
    batch = build_features(
        dataset,
        path=path,
        encode_passages=partial(encode_passages, tokenizer),
        encode_questions=partial(
            encode_questions, tokenizer, max_tokens=windows.max_question_tokens
        ),
        windows=windows,
        tokenizer=identity(tokenizer),
        data_sha256=files[split]["sha256"],
    )
    _log_summary(split, Features.from_batch(batch), dataset)
    return batch


def _log_summary(split: str, features: Features, dataset: SquadDataset) -> None:
    _logger.info(
        "%s: %d passages, %d questions, %d windows; %d misaligned answers dropped, "
        "%d moved, "
        "%d answers begin or end inside a token, %d fit no window whole",
        split,
        len(features.passage_texts),
        len(features.question_ids),
        len(features.windows.question),
        dataset.misaligned,
        dataset.repaired,
        features.meta.answers_inside_tokens,
        features.meta.answers_beyond_windows,
    )
