"""One process of an inference run: `python -m roberta_squad_pipeline.inference.worker FOLDER`."""

from roberta_squad_pipeline.distributed.worker import Worker, work
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.job import InferenceJob, save_spans
from roberta_squad_pipeline.inference.prediction import search_windows
from roberta_squad_pipeline.reader.sharing import share_reader
from roberta_squad_pipeline.reader.storage import load_reader


def read(worker: Worker) -> None:
    """Reads this process's share of all windows."""
    job = InferenceJob.model_validate_json(worker.job)
    processes = worker.processes
    features = Features.open(worker.share_file(job.features))
    reader = load_reader(job.reader).reader if processes.first else None
    spans = search_windows(
        share_reader(reader, processes),
        features,
        job.inference,
        processes=processes,
        # The others read about as many in the same time.
        on_batch=lambda batch, _: worker.tell({"windows": len(batch.start) * processes.count}),
    )
    if processes.first:
        save_spans(spans, job.spans)


if __name__ == "__main__":
    work(read)
