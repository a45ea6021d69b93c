"""Answers the dev questions."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.progress import progress
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.pipelines import Features, SquadFiles, TrainedReader
from roberta_squad_pipeline.reader.config import InferenceParameters
from roberta_squad_pipeline.runs.parameters import DataConfig
from roberta_squad_pipeline.squad.faults import if_only_scored

_logger = logging.getLogger(__name__)


def predict_answers(
    trained: TrainedReader,
    dev_features: Features,
    squad_files: SquadFiles,
    data: DataConfig,
    inference: InferenceParameters,
    distributed: DistributedConfig,
    run: str,
    reader: str | None,
    calibrate: bool,
) -> dict[str, Any]:
    """Predicts the best spans and no-answer logits of every question.

    Returns:
        `predictions` (id → text), `nbest` (a row per question, see `collect`) and
        `answered_with`, the settings and the features' hash.

    Raises:
        InputError: The features were made with another tokenizer or in another order, or their
            scores would replace those of the reader on another file (see `kept_tuning`); or several
            machines are to answer for an ensemble whose members read windows of their own.
    """
    from roberta_squad_pipeline.inference.job import run_inference
    from roberta_squad_pipeline.inference.predicted import best_texts, collect
    from roberta_squad_pipeline.inference.prediction import merge_readers
    from roberta_squad_pipeline.reader.evaluation import (
        AnsweredWith,
        features_sha256,
        kept_tuning,
    )
    from roberta_squad_pipeline.reader.storage import check_features

    check_features(dev_features, trained.header)
    # Now, before hours are spent on predictions that could not be scored.
    kept_tuning(
        trained.evaluation,
        dev_features.meta.data_sha256,
        inference,
        run=run,
        reader=reader,
        calibrate=calibrate,
    )
    if len(trained.parts) > 1 and distributed.nodes > 1:
        raise InputError(
            where="distributed.nodes",
            got=f"{distributed.nodes} machines for an ensemble whose members read windows of "
            "their own",
            expected="one machine",
            remedy="Answer on one: --params distributed.nodes=1",
        )
    config = inference.resolved(trained.fast_precision())
    if inference.precision == "auto":
        _logger.info("inference.precision auto: %s on this machine", config.precision)
    answered_with = AnsweredWith(
        **config.model_dump(), features_sha256=features_sha256(dev_features)
    )
    with TemporaryDirectory() as folder:
        of_parts = _features_of_parts(trained, dev_features, squad_files, data, Path(folder))
        windows = sum(len(of_part.windows.question) for of_part in of_parts)
        with progress("predict", windows, "windows") as advance:
            predicted = [
                run_inference(
                    part,
                    of_part,
                    config,
                    distributed,
                    name=run,
                    on_windows=advance,
                )
                for part, of_part in zip(trained.parts, of_parts, strict=True)
            ]
            nbest = collect(merge_readers(predicted))
    return {
        "predictions": best_texts(nbest),
        "nbest": nbest,
        "answered_with": answered_with.model_dump(),
    }


def _features_of_parts(
    trained: TrainedReader,
    features: Features,
    files: SquadFiles,
    data: DataConfig,
    folder: Path,
) -> list[Features]:
    """The dev questions in windows of each part; the first takes the run's own."""
    from roberta_squad_pipeline.features.build import features_in_file
    from roberta_squad_pipeline.squad.dataset import read_passages

    dev, on_misaligned = Path(files["dev"]["path"]), if_only_scored(data.on_misaligned)
    others = (
        features_in_file(
            read_passages(dev, on_misaligned=on_misaligned),
            folder / f"{number}.arrow",
            part.builds(str(dev), features.meta.data_sha256),
        )
        for number, part in enumerate(trained.parts[1:])
    )
    return [features, *others]
