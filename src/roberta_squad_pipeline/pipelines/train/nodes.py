"""Trains a reader."""

import time
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.progress import progress
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.squad.features import Features
from roberta_squad_pipeline.tracking.tracker import Tracker
from roberta_squad_pipeline.training.config import TrainingConfig

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.storage import TrainedReader
    from roberta_squad_pipeline.training.loop import UpdateRecord
else:
    # Kedro resolves the hints of a node when it lists pipelines; torch must not be loaded then.
    TrainedReader = UpdateRecord = Any


def train_reader(
    features: Features, model: ModelConfig, training: TrainingConfig, tracker: Tracker
) -> TrainedReader:
    """Fine-tunes the encoder and both heads on all training windows.

    Raises:
        InputError: The features were made with another encoder's tokenizer.
        TrainingError: See the training loop.
    """
    import torch

    from roberta_squad_pipeline.reader.device import available_device
    from roberta_squad_pipeline.reader.model import new_reader
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader
    from roberta_squad_pipeline.reader.tokenization import identity, load_tokenizer
    from roberta_squad_pipeline.training import loop

    tokenizer = load_tokenizer(model.encoder)
    check_same_tokenizer(features, identity(tokenizer).sha256, f"model.encoder={model.encoder}")
    torch.manual_seed(training.seed)
    reader = new_reader(
        model,
        max_tokens=features.meta.windows.max_tokens,
        vocabulary=features.meta.tokenizer.entries,
    )
    with progress("train", training.updates, "updates") as advance:
        began = time.monotonic()

        def on_update(record: UpdateRecord) -> None:
            examples_per_s = record.update * record.windows / (time.monotonic() - began)
            tracker.log_metrics(
                {
                    "train/loss": record.loss,
                    "train/lr_highest": record.lr_highest,
                    "train/lr_lowest": record.lr_lowest,
                    "train/loss_scale": record.loss_scale,
                    "train/examples_per_s": examples_per_s,
                },
                step=record.update,
            )
            advance(
                1,
                f"· loss {record.loss:.2f} · lr {record.lr_highest:.0e} "
                f"· {examples_per_s:.0f} examples/s",
            )

        loop.train_reader(
            reader, features, training, device=available_device(), on_update=on_update
        )
    header = ReaderHeader(
        tokenizer=features.meta.tokenizer, windows=features.meta.windows, dropout=model.dropout
    )
    return TrainedReader(reader, tokenizer, header)


def check_same_tokenizer(features: Features, tokenizer_sha256: str, where: str) -> None:
    """Checks that token ids mean to a reader what they meant when features were built.

    Raises:
        InputError: They come from another tokenizer.
    """
    if features.meta.tokenizer.sha256 != tokenizer_sha256:
        raise InputError(
            where=where,
            got=f"features that were built with the tokenizer of {features.meta.tokenizer.encoder}",
            expected="features built with this encoder's tokenizer",
            remedy="Build them again: kedro run --pipeline features, with the same --params.",
        )
