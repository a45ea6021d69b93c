"""Makes one reader of those of finished runs."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.pipelines import Features, TrainedReader, Validation
from roberta_squad_pipeline.reader.config import InferenceParameters
from roberta_squad_pipeline.runs.parameters import DataConfig, EnsembleConfig
from roberta_squad_pipeline.runs.readers import member_names

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.model import ReaderModel

_logger = logging.getLogger(__name__)


def combine_readers(
    readers: Path,
    validation_features: Features | None,
    dev_features: Features,
    ensemble: EnsembleConfig,
    data: DataConfig,
    inference: InferenceParameters,
    run: str,
) -> TrainedReader:
    """An ensemble or a soup of finished runs' readers.

    A soup is put together by scores on the validation questions, or on the dev questions where
    there are no others.

    Raises:
        InputError: A run is not there or not finished, or see `ensemble_of` and `soup_of`.
    """
    from roberta_squad_pipeline.reader.combining import ensemble_of, soup_of
    from roberta_squad_pipeline.reader.device import resolved_here
    from roberta_squad_pipeline.reader.storage import load_reader
    from roberta_squad_pipeline.training.validation import Validation

    names = member_names(readers, ensemble.members, run)
    members = {name: load_reader(readers / name) for name in names}
    answering = resolved_here(inference)
    _logger.info("%s of %s", ensemble.kind, ", ".join(names))
    if ensemble.kind == "logits":
        return ensemble_of(members, answering)
    chosen = validation_features
    if chosen is None or data.validation == "dev":
        chosen = dev_features
        _logger.warning(
            "the soup is chosen by the dev questions, so that all scores of it on them will be "
            "optimistic. data.validation and training.evaluate_every give it questions of its own."
        )
    validation = Validation(chosen, answering)
    return soup_of(
        members,
        answering,
        lambda reader: _score(reader, validation),
        selected_on=chosen.meta.data_sha256,
    )


def _score(reader: "ReaderModel", validation: Validation) -> float:
    from roberta_squad_pipeline.reader.device import available_device
    from roberta_squad_pipeline.training.validation import read_validation, score_validation

    spans = read_validation(reader, validation, processes=Processes.alone(available_device()))
    return score_validation(validation, spans).criterion
