"""One process of a training run; `launch` starts it."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import torch

from roberta_squad_pipeline.common.errors import TrainingError
from roberta_squad_pipeline.distributed.launch import DEATH_FILE
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.worker import Worker, work
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits
from roberta_squad_pipeline.training.checkpoint import Checkpoints
from roberta_squad_pipeline.training.job import TrainingJob, first_reader
from roberta_squad_pipeline.training.loop import fit_reader, no_room
from roberta_squad_pipeline.training.strategy import share_reader

_HALVED = "micro_batch"
"""Name of the file with the smaller micro-batch, after memory ran out."""

_logger = logging.getLogger(__name__)


def train(worker: Worker) -> None:
    """Does this process's share of a training run."""
    job = TrainingJob.model_validate_json(worker.job)
    processes = worker.processes
    worker.tell({"restarts": worker.restarts})
    features = Features.open(worker.share(job.features))
    if job.teacher is not None:
        taught = TeacherLogits.open(worker.share(job.teacher))
        features = replace(features, teacher=taught)
    validation = job.opened(job.validation and worker.share(job.validation))
    reader = None
    if processes.first:
        reader = first_reader(features, job.model, job.training, job.start).reader
    checkpoints = Checkpoints(job.checkpoints) if processes.first else None
    # The most windows that an update has for a process.
    wanted = min(job.training.micro_batch, job.training.batch_size // processes.count)
    micro_batch = _within_memory(wanted, worker.folder / _HALVED, processes)
    # Each restart for want of memory has halved it, which is a bit less.
    deaths = worker.restarts - (wanted.bit_length() - micro_batch.bit_length())
    _check_deaths(deaths, job.distributed.max_restarts, worker.folder / DEATH_FILE)
    if checkpoints is not None and micro_batch < wanted:
        checkpoints.keep_micro_batch(micro_batch)
    training = job.training.model_copy(update={"micro_batch": micro_batch})
    try:
        finished = fit_reader(
            share_reader(reader, job.model, processes),
            features,
            training,
            validation=validation,
            processes=processes,
            strategy=job.distributed.strategy,
            checkpoints=checkpoints,
            stop=worker.stop,
            on_record=lambda record: worker.tell({"records": [asdict(record)]}),
        )
    except torch.OutOfMemoryError as error:
        smaller = training.micro_batch // 2
        (worker.folder / _HALVED).write_text(str(smaller))
        if smaller == 0:
            raise no_room("training.micro_batch") from error
        # An error, since other ranks than 0 log nothing less.
        _logger.error(  # noqa: TRY400 (the message is all)
            "process %d: out of GPU memory; all processes restart with training.micro_batch=%d",
            processes.rank,
            smaller,
        )
        raise SystemExit(1) from error
    worker.tell({"finished": finished})


def _within_memory(wanted: int, halved: Path, processes: Processes) -> int:
    """The largest micro-batch that has fitted into memory on every process so far."""
    mine = int(halved.read_text()) if halved.exists() else wanted
    smallest = torch.tensor(-mine)
    # All ranks must divide an update alike. The maximum of the negatives is the minimum.
    processes.maximum(smallest)
    if smallest == 0:
        raise TrainingError(str(no_room("training.micro_batch")))
    return -int(smallest)


def _check_deaths(deaths: int, allowed: int, death: Path) -> None:
    """Raises if too many processes died; a restart with a smaller micro-batch does not count."""
    if deaths > allowed:
        died = death.read_text() if death.exists() else "a process of another machine died"
        raise TrainingError(
            f"{died}, and deaths in all: {deaths}; expected at most {allowed}, "
            "which is distributed.max_restarts. Their own messages are above. The same command "
            "continues from the last checkpoint."
        )


if __name__ == "__main__":
    work(train)
