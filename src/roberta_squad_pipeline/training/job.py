"""Runs a training in this process or in several, and passes data between them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from roberta_squad_pipeline.common.errors import TrainingError
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.distributed.launch import launch, local_processes
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest, stop_requests
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import split_update
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.device import available_device
from roberta_squad_pipeline.reader.model import ReaderModel, new_reader
from roberta_squad_pipeline.reader.start import FirstReader, started_reader
from roberta_squad_pipeline.training.checkpoint import Checkpoints
from roberta_squad_pipeline.training.config import TrainingConfig, TrainingSettings
from roberta_squad_pipeline.training.loop import fit_reader
from roberta_squad_pipeline.training.records import RECORDS, EvaluationRecord, Record
from roberta_squad_pipeline.training.strategy import WEIGHTS
from roberta_squad_pipeline.training.validation import Validation

_WORKER = "roberta_squad_pipeline.training.worker"
_MOST_HALVINGS = 6
"""The most times that a micro-batch is halved: from 64 windows down to one."""
_STOPPING = (
    "stopping after this update, with a checkpoint; the same command goes on from there. "
    "Press again to stop at once."
)


class TrainingJob(StrictModel):
    """The task of the processes of a run."""

    features: Path
    """File of the training windows."""
    teacher: Path | None
    """File of the teacher's logits for them, if there is a teacher."""
    validation: Path | None
    """File of the validation windows, if there are evaluations."""
    inference: InferenceConfig
    """How the validation questions are answered."""
    model: ModelConfig
    start: Path | None
    """Folder with the files of `model.start`; only rank 0 reads them."""
    training: TrainingConfig
    distributed: DistributedConfig
    """How many processes, and on which machines."""
    checkpoints: Path
    """Folder for the checkpoints of these settings and data."""

    def opened(self, validation: Path | None) -> Validation | None:
        """Opens the validation questions, from their file or a copy of it."""
        if validation is None:
            return None
        return Validation(Features.open(validation), self.inference)


def first_reader(
    features: Features, model: ModelConfig, training: TrainingSettings, start: Path | None
) -> FirstReader:
    """Makes the reader as it is before its first update.

    Args:
        features: The training windows.
        model: The encoder or reader to start from.
        training: Gives the seed of random weights.
        start: Folder with the files of `model.start`; None without that setting.

    Raises:
        InputError: See `new_reader` and `started_reader`.
    """
    torch.manual_seed(training.seed)
    max_tokens, vocabulary = features.meta.windows.max_tokens, features.meta.tokenizer.entries
    if start is not None:
        return started_reader(model, start, max_tokens=max_tokens, vocabulary=vocabulary)
    return FirstReader(new_reader(model, max_tokens=max_tokens, vocabulary=vocabulary), None)


def run_training(
    job: TrainingJob,
    reader: ReaderModel,
    features: Features,
    *,
    name: str,
    on_record: Callable[[Record], None],
    on_restart: Callable[[int], None],
) -> None:
    """Trains a reader in place, in this process or, if asked for, in several.

    On Ctrl-C or SIGTERM, it finishes the current update, writes a checkpoint and stops.

    Args:
        job: The task.
        reader: The reader before its first update.
        features: The training windows.
        name: The run's name, the same on all machines.
        on_record: Called once per update and per evaluation.
        on_restart: Called with the number of restarts after processes were restarted.

    Raises:
        InputError: The update cannot be divided evenly, or machines do not meet.
        TrainingError: See `fit_reader`; or processes died too often.
        KeyboardInterrupt: It was stopped by Ctrl-C.
        SystemExit: It was stopped by SIGTERM.
    """
    count = job.distributed.nodes * local_processes(job.distributed)
    split_update(job.training.batch_size, count, job.training.micro_batch)
    checkpoints = Checkpoints(job.checkpoints)
    micro_batch = checkpoints.micro_batch(job.training.micro_batch)
    training = job.training.model_copy(update={"micro_batch": micro_batch})
    job = job.model_copy(update={"training": training})
    last = (0, False)

    def told(record: Record) -> None:
        nonlocal last
        place = (record.update, isinstance(record, EvaluationRecord))
        # Restarted processes tell of everything from the first update on.
        if place > last:
            last = place
            on_record(record)

    with stop_requests(say=_STOPPING) as stop:
        if count == 1:
            finished = fit_reader(
                reader,
                features,
                job.training,
                validation=job.opened(job.validation),
                processes=Processes.alone(available_device()),
                strategy=job.distributed.strategy,
                checkpoints=checkpoints,
                stop=stop,
                on_record=told,
            )
        else:
            finished = _launch(job, name=name, stop=stop, on_record=told, on_restart=on_restart)
    if finished and (count > 1 or job.training.keep == "best"):
        _load_result(reader, checkpoints, last[0])
    if not finished:
        stop.obey()
        raise TrainingError(
            "training was stopped from another machine or by a signal to one of its processes. "
            "The same command goes on from the last checkpoint."
        )


def help_training(distributed: DistributedConfig, *, name: str) -> None:
    """Lends this machine's processes to the run of machine 0.

    Raises:
        InputError: Machine 0 never came.
        TrainingError: See `fit_reader`.
    """
    with stop_requests(say=_STOPPING) as stop:
        launch(_WORKER, None, _with_halvings(distributed), name=f"train-{name}", stop=stop)
    stop.obey()


def _launch(
    job: TrainingJob,
    *,
    name: str,
    stop: StopRequest,
    on_record: Callable[[Record], None],
    on_restart: Callable[[int], None],
) -> bool:
    finished = False

    def on_event(event: dict[str, Any]) -> None:
        nonlocal finished
        if event.get("restarts"):
            on_restart(event["restarts"])
        for record in RECORDS.validate_python(event.get("records", [])):
            on_record(record)
        finished = event.get("finished", finished)

    halving = _with_halvings(job.distributed)
    launch(_WORKER, job, halving, name=f"train-{name}", on_event=on_event, stop=stop)
    return finished


def _with_halvings(distributed: DistributedConfig) -> DistributedConfig:
    """Allows more restarts, for smaller micro-batches; workers count deaths on their own."""
    restarts = distributed.max_restarts + _MOST_HALVINGS
    return distributed.model_copy(update={"max_restarts": restarts})


def _load_result(reader: ReaderModel, checkpoints: Checkpoints, update: int) -> None:
    found = checkpoints.newest()
    # An earlier one may be undamaged, but its reader is not finished.
    if found is None or found.manifest.update != update:
        raise TrainingError(
            f"{checkpoints.folder}: got no whole checkpoint of update {update}, the last one; "
            "expected the trained reader there. The same command goes on from the last good one."
        )
    reader.load_state_dict(
        found.best_weights()
        or {
            name.removeprefix(WEIGHTS): tensor
            for name, tensor in found.tensors().items()
            if name.startswith(WEIGHTS)
        }
    )
