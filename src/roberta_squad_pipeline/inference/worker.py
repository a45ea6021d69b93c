"""One process of an inference run; `launch` starts it."""

from pydantic import TypeAdapter

from roberta_squad_pipeline.distributed.worker import Worker, work
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.file_answers import answer_file
from roberta_squad_pipeline.inference.job import FileJob, InferenceJob, save_spans
from roberta_squad_pipeline.inference.prediction import search_windows
from roberta_squad_pipeline.reader.sharing import share_trained

_JOB: TypeAdapter[InferenceJob | FileJob] = TypeAdapter(InferenceJob | FileJob)


def read(worker: Worker) -> None:
    """Reads this process's share of all windows, or of all chunks of a file."""
    job, processes = _JOB.validate_json(worker.job), worker.processes
    if isinstance(job, FileJob):
        answer_file(
            share_trained(job.reader, processes),
            job.questions,
            job.work,
            processes=processes,
            on_questions=lambda more: worker.tell({"done": more}),
            stop=worker.stop,
        )
        return
    features = Features.open(worker.share_file(job.features))
    spans = search_windows(
        share_trained(job.reader, processes).module,
        features,
        job.inference,
        processes=processes,
        # The other ranks read about as many in the same time.
        on_batch=lambda batch, _: worker.tell({"done": len(batch.start) * processes.count}),
    )
    if processes.first:
        save_spans(spans, job.spans)


if __name__ == "__main__":
    work(read)
