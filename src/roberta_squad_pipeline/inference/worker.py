"""One process of an inference run; `launch` starts it."""

from pydantic import TypeAdapter
from safetensors.numpy import save_file

from roberta_squad_pipeline.distributed.worker import Worker, work
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.file_answers import answer_file
from roberta_squad_pipeline.inference.job import FileJob, InferenceJob
from roberta_squad_pipeline.inference.prediction import search_windows
from roberta_squad_pipeline.reader.storage import load_reader

_JOB: TypeAdapter[InferenceJob | FileJob] = TypeAdapter(InferenceJob | FileJob)


def read(worker: Worker) -> None:
    """Reads this process's share of all windows, or of all chunks of a file."""
    job, processes = _JOB.validate_json(worker.job), worker.processes
    trained = load_reader(worker.share(job.reader))
    if isinstance(job, FileJob):
        answer_file(
            trained,
            job.questions,
            job.work,
            processes=processes,
            on_questions=lambda more: worker.tell({"done": more}),
            stop=worker.stop,
        )
        return
    features = Features.open(worker.share(job.features))
    spans = search_windows(
        trained.module,
        features,
        job.inference,
        processes=processes,
        # The other ranks read about as many in the same time.
        on_batch=lambda batch, _: worker.tell({"done": len(batch.start) * processes.count}),
    )
    if processes.first:
        save_file(spans._asdict(), job.spans)


if __name__ == "__main__":
    work(read)
