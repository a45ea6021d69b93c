"""Turns SQuAD files into features, which are built while they are being saved."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Literal

from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.pipelines import (
    FilePart,
    RecordBatch,
    RecordBatchReader,
    SquadFiles,
)
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.squad.faults import if_only_scored
from roberta_squad_pipeline.tracking.fetching import tokenizer_of
from roberta_squad_pipeline.training.config import TrainingParameters

_logger = logging.getLogger(__name__)


def build_train_features(
    squad_files: SquadFiles, data: DataConfig, windows: WindowConfig, model: ModelConfig
) -> RecordBatchReader:
    """Builds features of the training questions, without those that `data.validation` holds out.

    Unlabelled questions come after them.

    Raises:
        InputError: No article would be left.
    """
    part = _part("training", squad_files, data)
    if part is not None:
        _logger.info("held out of training: %s", part.held_out)
    return _build("train", squad_files, part, data, windows, model)


def build_validation_features(
    squad_files: SquadFiles,
    data: DataConfig,
    windows: WindowConfig,
    model: ModelConfig,
    training: TrainingParameters,
) -> RecordBatchReader | Sequence[RecordBatch]:
    """Builds features of the validation questions, unless these are the dev questions.

    Returns:
        Nothing if there is no validation, or if the dev questions serve for it.

    Raises:
        InputError: No article would be left for training.
    """
    if training.evaluate_every is None or data.validation == "dev":
        return ()
    part = _part("validation", squad_files, data)
    return _build("validation", squad_files, part, data, windows, model)


def build_dev_features(
    squad_files: SquadFiles, data: DataConfig, windows: WindowConfig, model: ModelConfig
) -> RecordBatchReader:
    """Builds features of the dev questions."""
    return _build("dev", squad_files, None, data, windows, model)


def _part(
    of: Literal["training", "validation"], files: SquadFiles, data: DataConfig
) -> FilePart | None:
    from roberta_squad_pipeline.squad.held_out import FilePart, hold_out

    if not isinstance(data.validation, float):
        return None
    return FilePart(of=of, held_out=hold_out(Path(files["train"]["path"]), data.validation))


def _build(
    split: str,
    files: SquadFiles,
    part: FilePart | None,
    data: DataConfig,
    windows: WindowConfig,
    model: ModelConfig,
) -> RecordBatchReader:
    from pyarrow import RecordBatchReader

    from roberta_squad_pipeline.features.build import build_features, build_features_in_pieces
    from roberta_squad_pipeline.squad.dataset import read_passages, read_training

    file = files[split] if part is None else files["train"]
    build = partial(
        build_features,
        tokenizer=tokenizer_of(model, windows),
        windows=windows,
        source=file["path"],
        data_sha256=file["sha256"],
        part=part,
    )
    if split == "train":
        passages = read_training(files, data.on_misaligned, part)
    else:
        # They are scored, which only needs the texts of their answers.
        passages = read_passages(
            Path(file["path"]),
            on_misaligned=if_only_scored(data.on_misaligned),
            articles=part.articles if part else None,
        )
    batches = build_features_in_pieces(passages, build)
    return RecordBatchReader.from_batches(batches.schema, _summarised(split, windows, batches))


def _summarised(
    split: str, windows: WindowConfig, batches: RecordBatchReader
) -> Iterator[RecordBatch]:
    """Logs counts at the end."""
    from roberta_squad_pipeline.features.file import FeatureCounts

    counts = FeatureCounts(*(0,) * len(fields(FeatureCounts)))
    for batch in batches:
        counts += FeatureCounts.of(batch)
        yield batch
    odd = {
        "windows are of unlabelled questions": counts.unlabelled,
        "labelled windows are of questions with several": counts.labelled_of_several,
        "misaligned answers without a place": counts.misaligned,
        "answers moved": counts.repaired,
        "answers begin or end inside a token": counts.inside_tokens,
        "questions have answers of which none fits a window whole": counts.beyond_windows,
    }
    _logger.info(
        "%s: %d passages, %d questions, %d windows, %.1f %% of them labelled with an answer%s",
        split,
        counts.passages,
        counts.questions,
        counts.windows,
        100 * counts.labelled / max(counts.windows, 1),
        "".join(f"; {count} {what}" for what, count in odd.items() if count),
    )
    if counts.cut_questions:
        _logger.warning(
            "%s: %d questions are cut after %d tokens; none would be with %s",
            split,
            counts.cut_questions,
            windows.max_question_tokens,
            windows.settings_for(counts.longest_question),
        )
