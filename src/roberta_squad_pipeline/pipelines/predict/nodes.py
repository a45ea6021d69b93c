"""Answers a file of questions."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.runs.parameters import PredictConfig

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.storage import TrainedReader
else:
    # Kedro resolves the hints of its nodes, which must load nothing heavy.
    TrainedReader = Any

_logger = logging.getLogger(__name__)


def answer_file(
    trained: TrainedReader, predict: PredictConfig, distributed: DistributedConfig, run: str
) -> None:
    """Writes an answer to each question of a file: see `answer_questions_of`.

    Raises:
        InputError: There is no question, or the output cannot be written.
    """
    from roberta_squad_pipeline.inference.job import answer_questions_of

    questions, output = Path(str(predict.input)), Path(str(predict.output))
    done = answer_questions_of(questions, output, trained, distributed, name=run)
    _logger.info("%d questions, %s", done.questions, output)
    if done.errors:
        _logger.warning(
            "%d of them have no answer but an error; the first: %s", done.errors, done.first_error
        )
