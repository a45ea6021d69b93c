"""Trains a reader."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.progress import Advance, progress
from roberta_squad_pipeline.common.same_run import digest, weights_of
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.pipelines import (
    Features,
    Origin,
    SquadFiles,
    TeacherLogits,
    Validation,
)
from roberta_squad_pipeline.reader.config import InferenceConfig, InferenceParameters, ModelConfig
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.runs.pruning import show_evaluation
from roberta_squad_pipeline.tracking.fetching import reader_folder, start_folder
from roberta_squad_pipeline.tracking.tracker import Tracker
from roberta_squad_pipeline.training.config import (
    Distillation,
    DistilParameters,
    TrainingConfig,
    TrainingParameters,
)
from roberta_squad_pipeline.training.records import (
    EvaluationRecord,
    Record,
    UpdateRecord,
    best_evaluation,
    still_rising,
    training_curve,
)

if TYPE_CHECKING:
    from roberta_squad_pipeline.squad.dataset import Passage

_LONGEST_TAG = 5000
"""The most characters of a tag that every release of MLflow accepts."""

_logger = logging.getLogger(__name__)


def train_reader(
    train_features: Features,
    validation_features: Features | None,
    dev_features: Features,
    squad_files: SquadFiles,
    data: DataConfig,
    model: ModelConfig,
    training: TrainingParameters,
    distil: DistilParameters,
    inference: InferenceParameters,
    distributed: DistributedConfig,
    run: str,
    teacher_logits: Path,
    checkpoints: Path,
    tracker: Tracker,
) -> dict[str, Any]:
    """Fine-tunes the encoder and both heads on all training windows.

    Returns:
        `reader`, the trained reader; `training_curve` (see there); and `trained_with`, the
        resolved values of settings that conf/ may leave open.

    Raises:
        InputError: The features were made with another tokenizer; or see `start_folder`,
            `first_reader` and `run_training`.
        TrainingError: See `run_training`.
    """
    from roberta_squad_pipeline.features.file import check_tokenizer
    from roberta_squad_pipeline.reader.device import available_device, resolved_here
    from roberta_squad_pipeline.reader.source import source_tokenizer
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader
    from roberta_squad_pipeline.squad.dataset import read_training
    from roberta_squad_pipeline.training.job import TrainingJob, first_reader, run_training
    from roberta_squad_pipeline.training.learning_rates import peak_learning_rates
    from roberta_squad_pipeline.training.resolution import resolve
    from roberta_squad_pipeline.training.resume import attempt_folder, settings_of

    answering = resolved_here(inference)
    chosen = dev_features if data.validation == "dev" else validation_features
    validation = _validation(chosen, data, training, answering, tracker)
    # Workers that are restarted read the folder again.
    with start_folder(model.start) as start:
        tokenizer = source_tokenizer(model, start, train_features.meta.windows)
        check_tokenizer(train_features, tokenizer.identity.sha256, where=model.source_parameter)
        reader, origin = first_reader(train_features, model, training, start)
        _tell_of_source(model, origin, tracker)
        config = resolve(training, train_features, reader, available_device())
        taught_by = None
        if distil.teacher is not None:
            passages = partial(
                read_training, squad_files, data.on_misaligned, train_features.meta.part
            )
            taught_by, teacher = _read_teacher(
                distil.teacher, train_features, passages, answering, teacher_logits
            )
            train_features = replace(train_features, teacher=teacher)
            by_weights = {
                "teacher": teacher.meta.teacher,
                "unlabelled": squad_files.get("unlabelled", {}).get("sha256"),
            }
            told = Distillation(**distil.model_dump() | by_weights)
            config = config.model_copy(update={"distil": told})
        settings = settings_of(reader, train_features, validation, model, config)
        folder, previous = attempt_folder(checkpoints, settings, config, run_id=tracker.run_id)
        if previous is not None:
            tracker.supersedes(previous)
        job = TrainingJob(
            features=train_features.path,
            teacher=taught_by,
            validation=validation.features.path if validation else None,
            inference=answering,
            model=model,
            start=start,
            training=config,
            distributed=distributed,
            checkpoints=folder,
        )
        with progress("train", config.updates, "updates") as advance:
            curve = _Curve(tracker, config, advance)
            run_training(
                job,
                reader,
                train_features,
                name=run,
                on_record=curve.add,
                on_restart=lambda times: tracker.set_tag("distributed.restarts", str(times)),
            )
    curve.tell_of_end()
    selected_on = validation.features.meta.data_sha256 if validation and config.selects else None
    header = ReaderHeader(
        tokenizer=train_features.meta.tokenizer,
        windows=train_features.meta.windows,
        inference=answering,
        dropout=model.dropout,
        answerability_input=model.answerability_input,
        recipe=_recipe(train_features, model, config, origin, selected_on)
        | {"first_weights": settings["model"]["first_weights"]},
    )
    return {
        "reader": TrainedReader(reader, tokenizer, header),
        "training_curve": training_curve(
            curve.updates, curve.evaluations, peak_learning_rates(reader, config), config
        ),
        "trained_with": config.resolved,
    }


def _recipe(
    features: Features,
    model: ModelConfig,
    config: TrainingConfig,
    origin: Origin | None,
    selected_on: str | None,
) -> dict[str, Any]:
    """What the reader was trained on and how, for its header."""
    part = features.meta.part
    return {
        "model": model.model_dump(mode="json"),
        "start": origin.model_dump(mode="json") if origin else None,
        "training": config.recipe,
        "data_sha256": features.meta.data_sha256,
        "held_out_questions": part.held_out.questions if part else 0,
        "selected_on": selected_on,
    }


def _read_teacher(
    source: str,
    features: Features,
    passages: Callable[[], Iterable["Passage"]],
    inference: InferenceConfig,
    folder: Path,
) -> tuple[Path, TeacherLogits]:
    """Reads the training windows with a teacher; returns the file of its logits, and these."""
    from roberta_squad_pipeline.features.teacher import TeacherMeta
    from roberta_squad_pipeline.inference.teaching import taught_by
    from roberta_squad_pipeline.reader.evaluation import features_sha256
    from roberta_squad_pipeline.reader.storage import load_reader

    with reader_folder(source) as found:
        trained = load_reader(found)
        meta = TeacherMeta(
            features_sha256=features_sha256(features),
            teacher=digest(weights_of(found) | {"precision": inference.precision}),
        )
        path = folder / f"{meta.teacher}.arrow"
        logits = taught_by(
            trained,
            features,
            passages,
            meta=meta,
            path=path,
            config=inference,
        )
    return path, logits


def _tell_of_source(model: ModelConfig, origin: Origin | None, tracker: Tracker) -> None:
    """Logs and records which parts of the encoder's or reader's files are used."""
    from roberta_squad_pipeline.reader.start import tell_of_start, tell_of_unused_head

    if origin is None:
        tell_of_unused_head(model.source)
    else:
        tell_of_start(model, origin)
        tracker.log_params({"model": {"start": {"sha256": origin.sha256}}})


def _validation(
    chosen: Features | None,
    data: DataConfig,
    training: TrainingParameters,
    inference: InferenceConfig,
    tracker: Tracker,
) -> Validation | None:
    """The questions that the reader is scored on while it is trained; logs which they are."""
    from roberta_squad_pipeline.training.validation import Validation

    if training.evaluate_every is None:
        return None
    if chosen is None:
        raise InputError(
            where=f"data.validation={data.validation}",
            got="no features of the validation questions",
            expected="features that were built with this setting",
            remedy="Build them again: kedro run --pipeline features, with the same --params.",
        )
    questions = f"{len(chosen.question_ids)} questions"
    if chosen.meta.part is not None:
        which, said = "held-out articles", str(chosen.meta.part.held_out)
    elif data.validation == "dev":
        which, said = "dev", questions
    else:
        which, said = "file", f"{questions}, sha256 {chosen.meta.data_sha256}"
    _logger.info("validation: %s, %s", which, said)
    tracker.set_tag("validation", f"{which}: {said}"[:_LONGEST_TAG])
    if training.selects:
        tracker.set_tag("selected_on", which)
    if training.selects and data.validation == "dev":
        _logger.warning(
            "training.keep and training.patience depend on the dev questions, so all scores of "
            "this run on them will be optimistic. With data.validation=0.1, articles are held out "
            "of training instead."
        )
    return Validation(chosen, inference)


class _Curve:
    """Keeps the records of training, and passes them on to the tracker and the log."""

    def __init__(self, tracker: Tracker, config: TrainingConfig, advance: Advance) -> None:
        self._tracker, self._config, self._advance = tracker, config, advance
        self.updates: list[UpdateRecord] = []
        self.evaluations: list[EvaluationRecord] = []

    def add(self, record: Record) -> None:
        if isinstance(record, UpdateRecord):
            self._add_update(record)
        else:
            self._add_evaluation(record)

    def _add_update(self, record: UpdateRecord) -> None:
        self.updates.append(record)
        recent = self.updates[-20:]
        examples_per_s = sum(r.windows for r in recent) / sum(r.seconds for r in recent)
        self._tracker.log_metrics(
            {
                "train/loss": record.loss,
                "train/lr_highest": record.lr_highest,
                "train/lr_lowest": record.lr_lowest,
                "train/loss_scale": record.loss_scale,
                "train/examples_per_s": examples_per_s,
            },
            step=record.update,
        )
        scored = f", best F1 {self.evaluations[-1].best_f1:.1f}" if self.evaluations else ""
        self._advance(
            1,
            f"loss {record.loss:.2f}, lr {record.lr_highest:.2e}, "
            f"{examples_per_s:.0f} examples/s{scored}",
        )

    def _add_evaluation(self, record: EvaluationRecord) -> None:
        self.evaluations.append(record)
        scores = {
            name: value
            for name, value in asdict(record).items()
            if name != "update" and value is not None
        }
        self._tracker.log_metrics(
            {f"validation/{name}": value for name, value in scores.items()}, step=record.update
        )
        said = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        _logger.info("validation after update %d: %s", record.update, said)
        show_evaluation(record.criterion, record.update / self._config.updates)

    def tell_of_end(self) -> None:
        training, last = self._config, self.updates[-1].update
        if last < training.updates:
            said = f"after {last} of {training.updates} updates"
            _logger.info(
                "training ended %s: no improvement in %d evaluations in a row",
                said,
                training.patience,
            )
            self._tracker.set_tag("ended_early", said)
        if training.keep == "best":
            best = best_evaluation(self.evaluations)
            _logger.info("the reader has the weights of update %d", best.update)
            self._tracker.set_tag("kept_update", str(best.update))
        if still_rising(self.evaluations):
            _logger.warning(
                "the validation scores were still rising at the end: the last evaluation was the "
                "best. More updates would probably make a better reader: raise training.updates."
            )
            self._tracker.set_tag("warning.still_rising", "true")
