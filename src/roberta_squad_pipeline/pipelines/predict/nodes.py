"""Answers a file of questions."""

import logging
from dataclasses import replace
from pathlib import Path

from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.pipelines import TrainedReader
from roberta_squad_pipeline.runs.parameters import PredictConfig
from roberta_squad_pipeline.squad.sources import QuestionFiles, local_path

_logger = logging.getLogger(__name__)


def answer_file(
    trained: TrainedReader,
    predict_questions: QuestionFiles,
    predict: PredictConfig,
    folder: str,
    distributed: DistributedConfig,
    run: str,
) -> None:
    """Writes an answer to each question of a file: see `answer_questions_of`.

    Args:
        trained: The reader that answers.
        predict_questions: Has the credentials for remote files.
        predict: Where the questions are, and where their answers go.
        folder: The folder for fetched files.
        distributed: How many processes, and on which machines.
        run: The run that trained the reader.

    Raises:
        InputError: There is no question, or the output cannot be written.
    """
    from roberta_squad_pipeline.inference.job import answer_questions_of

    given, output = predict.input or "", Path(str(predict.output))
    paths = (given,) if isinstance(given, str) else given
    questions = local_path(
        replace(predict_questions, paths=paths), Path(folder) / run, listed_as="predict"
    )
    done = answer_questions_of(questions, output, trained, distributed, name=run)
    _logger.info("%d questions, %s", done.questions, output)
    if done.errors:
        _logger.warning(
            "%d of them could not be answered; the first: %s", done.errors, done.first_error
        )
