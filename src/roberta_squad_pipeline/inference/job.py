"""Predicts in this process or in several, and passes data between them."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors.numpy import load_file

from roberta_squad_pipeline.common.progress import progress
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import stop_requests
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.file_answers import (
    Done,
    answer_file,
    count_questions,
    read_done,
    work_folder,
    write_answers,
)
from roberta_squad_pipeline.inference.prediction import (
    Prediction,
    WindowSpans,
    merge_windows,
    predict,
)
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.onnx_reader import OnnxReader
from roberta_squad_pipeline.reader.storage import TrainedReader

_logger = logging.getLogger(__name__)

_WORKER = "roberta_squad_pipeline.inference.worker"


class InferenceJob(StrictModel):
    """The task of the processes of an inference run."""

    features: Path
    reader: Path
    inference: InferenceConfig
    spans: Path
    """File in which rank 0 writes the spans."""


class FileJob(StrictModel):
    """The task of the processes that answer a file of questions."""

    reader: Path
    questions: Path
    work: Path
    """See `work_folder`."""


def run_inference(
    trained: TrainedReader,
    features: Features,
    config: InferenceConfig,
    distributed: DistributedConfig,
    *,
    name: str,
    on_windows: Callable[[int], None],
) -> Iterator[Prediction]:
    """Answers every question, in this process or, if asked for, in several.

    Args:
        trained: A reader, loaded from a folder.
        features: The questions, opened from a file.
        config: How spans are searched and scored.
        distributed: How many processes, and on which machines.
        name: The run's name, the same on all machines.
        on_windows: Called with the number of windows that were read since.

    Returns:
        Predictions in the order of the features' questions.

    Raises:
        InputError: Machines do not meet.
        TrainingError: Processes died too often.
    """
    if _is_enough(trained, distributed):
        return predict(trained.reader, features, config, on_windows=on_windows)
    if features.path is None or trained.path is None:
        raise ValueError("other processes need features and reader in files")
    with tempfile.TemporaryDirectory() as folder:
        spans = Path(folder) / "spans.safetensors"
        job = InferenceJob(
            features=features.path, reader=trained.path, inference=config, spans=spans
        )
        left = len(features.windows.question)

        def on_done(windows: int) -> None:
            nonlocal left
            # Rank 0 can only estimate the progress of all ranks.
            more = min(windows, left)
            left -= more
            on_windows(more)

        _launch(job, distributed, name, on_done)
        found = WindowSpans(**load_file(spans))
    return merge_windows(found, features, config)


def answer_questions_of(
    questions: Path,
    output: Path,
    trained: TrainedReader,
    distributed: DistributedConfig,
    *,
    name: str,
) -> Done:
    """Answers the questions of a file, and goes on where an earlier run was killed.

    Args:
        questions: A file of any form, with or without answers.
        output: The file to write; see `write_answers`.
        trained: A reader, loaded from a folder.
        distributed: How many processes, and on which machines.
        name: The run's name, the same on all machines.

    Returns:
        The number of questions and errors.

    Raises:
        InputError: There are no questions, the output cannot be written, or machines do not meet.
        TrainingError: Processes died too often.
    """
    count = count_questions(questions)
    with work_folder(output, trained, questions) as work, stop_requests() as stop:
        done = read_done(work).questions
        if done:
            _logger.info("going on: %d of %d questions are answered already", done, count)
        with progress("predict", count - done, "questions") as advance:
            if _is_enough(trained, distributed):
                answer_file(
                    trained,
                    questions,
                    work,
                    processes=Processes.alone(None),
                    on_questions=advance,
                    stop=stop,
                )
            else:
                job = FileJob(reader=trained.path, questions=questions, work=work)
                _launch(job, distributed, name, advance)
        stop.obey()
        return write_answers(work, output)


def help_inference(distributed: DistributedConfig, *, name: str) -> None:
    """Lends this machine's processes to the run of machine 0.

    Raises:
        InputError: Machine 0 never came.
    """
    _launch(None, distributed, name, lambda _: None)


def _is_enough(trained: TrainedReader, distributed: DistributedConfig) -> bool:
    """Whether this process answers alone."""
    if isinstance(trained.reader, OnnxReader):  # which computes on the CPU, without torch
        return distributed.nodes * (distributed.processes or 1) == 1

    from roberta_squad_pipeline.distributed.launch import local_processes

    return distributed.nodes * local_processes(distributed) == 1


def _launch(
    job: InferenceJob | FileJob | None,
    distributed: DistributedConfig,
    name: str,
    on_done: Callable[[int], None],
) -> None:
    from roberta_squad_pipeline.distributed.launch import launch

    with stop_requests() as stop:
        launch(
            _WORKER,
            job,
            distributed,
            name=f"predict-{name}",
            on_event=lambda event: on_done(event["done"]),
            stop=stop,
        )
    stop.obey()
