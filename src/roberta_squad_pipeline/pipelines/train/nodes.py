"""Trains a reader."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.progress import Advance, progress
from roberta_squad_pipeline.reader.config import InferenceParameters, ModelConfig
from roberta_squad_pipeline.tracking.fetching import start_folder
from roberta_squad_pipeline.tracking.tracker import Tracker
from roberta_squad_pipeline.training.config import TrainingParameters

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.start import Origin
    from roberta_squad_pipeline.reader.storage import TrainedReader
    from roberta_squad_pipeline.squad.features import Features
    from roberta_squad_pipeline.training.records import UpdateRecord
else:
    # Kedro resolves the hints of its nodes, which must load nothing heavy.
    Features = Origin = TrainedReader = UpdateRecord = Any


def train_reader(
    features: Features,
    model: ModelConfig,
    training: TrainingParameters,
    inference: InferenceParameters,
    distributed: DistributedConfig,
    run: str,
    checkpoints: Path,
    tracker: Tracker,
) -> dict[str, Any]:
    """Fine-tunes the encoder and both heads on all training windows.

    Returns:
        `reader`, trained; `curve`: see `training_curve`; and `trained_with`, what the settings
        that conf/ may leave open came to.

    Raises:
        InputError: The features were made with another encoder's tokenizer, or see `start_folder`,
            `first_reader` and `run_training`.
        TrainingError: See `run_training`.
    """
    from roberta_squad_pipeline.reader.device import available_device, fast_precision
    from roberta_squad_pipeline.reader.start import source_tokenizer
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader
    from roberta_squad_pipeline.reader.tokenization import identity
    from roberta_squad_pipeline.squad.features import check_tokenizer
    from roberta_squad_pipeline.training.curve import training_curve
    from roberta_squad_pipeline.training.job import TrainingJob, first_reader, run_training
    from roberta_squad_pipeline.training.param_groups import peak_learning_rates
    from roberta_squad_pipeline.training.resolution import resolve
    from roberta_squad_pipeline.training.resume import attempt_folder, settings_of

    device = available_device()
    records: list[UpdateRecord] = []
    # Workers that have to be started again read it again.
    with start_folder(model.start) as start:
        tokenizer = source_tokenizer(model, start, features.meta.windows)
        check_tokenizer(features, identity(tokenizer).sha256, where=model.source_parameter)
        reader, origin = first_reader(features, model, training, start)
        _tell_of_source(model, origin, tracker)
        config = resolve(training, features, reader, device)
        settings = settings_of(reader, features, model, config)
        folder, previous = attempt_folder(checkpoints, settings, config, run_id=tracker.run_id)
        if previous is not None:
            tracker.supersedes(previous)
        job = TrainingJob(
            features=features.path,
            model=model,
            start=start,
            training=config,
            strategy=distributed.strategy,
            checkpoints=folder,
        )
        with progress("train", config.updates, "updates") as advance:
            run_training(
                job,
                reader,
                features,
                distributed,
                name=run,
                on_update=_reporter(tracker, advance, records),
                on_restart=lambda times: tracker.set_tag("distributed.restarts", str(times)),
            )
    header = ReaderHeader(
        tokenizer=features.meta.tokenizer,
        windows=features.meta.windows,
        inference=inference.resolved(fast_precision(device)),
        dropout=model.dropout,
        recipe={
            "model": model.model_dump(mode="json"),
            "start": origin.model_dump(mode="json") if origin else None,
            "training": config.recipe,
            "data_sha256": features.meta.data_sha256,
        },
    )
    return {
        "reader": TrainedReader(reader, tokenizer, header),
        "curve": training_curve(records, peak_learning_rates(reader, config), config),
        "trained_with": config.resolved,
    }


def _tell_of_source(model: ModelConfig, origin: Origin | None, tracker: Tracker) -> None:
    """Says, and records, what of the encoder's or reader's files is used."""
    from roberta_squad_pipeline.reader.start import tell_of_start, tell_of_unused_head

    if origin is None:
        tell_of_unused_head(model.source)
    else:
        tell_of_start(model, origin)
        tracker.log_params({"model": {"start": {"sha256": origin.sha256}}})


def _reporter(
    tracker: Tracker, advance: Advance, records: list[UpdateRecord]
) -> Callable[[UpdateRecord], None]:
    """Keeps each update, and tells the tracker and the person in front of the terminal of it."""

    def on_update(record: UpdateRecord) -> None:
        records.append(record)
        recent = records[-20:]
        examples_per_s = sum(r.windows for r in recent) / sum(r.seconds for r in recent)
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

    return on_update
