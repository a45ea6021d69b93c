"""One process of a training run: `python -m roberta_squad_pipeline.training.worker FOLDER`."""

from dataclasses import asdict

from roberta_squad_pipeline.distributed.worker import Worker, work
from roberta_squad_pipeline.reader.sharing import share_reader
from roberta_squad_pipeline.squad.features import Features
from roberta_squad_pipeline.training.checkpoint import Checkpoints
from roberta_squad_pipeline.training.job import TrainingJob, first_reader
from roberta_squad_pipeline.training.loop import train_reader


def train(worker: Worker) -> None:
    """Does this process's share of a training run."""
    job = TrainingJob.model_validate_json(worker.job)
    first = worker.processes.first
    worker.tell({"restarts": worker.restarts})
    features = Features.open(worker.share_file(job.features))
    reader = first_reader(features, job.model, job.training) if first else None
    finished = train_reader(
        share_reader(reader, worker.processes),
        features,
        job.training,
        processes=worker.processes,
        strategy=job.strategy,
        checkpoints=Checkpoints(job.checkpoints) if first else None,
        stop=worker.stop,
        on_update=lambda record: worker.tell({"record": asdict(record)}),
    )
    worker.tell({"finished": finished})


if __name__ == "__main__":
    work(train)
