"""Time and memory of RoBERTa large's true shape, once, with random weights.

24 layers of 1,024 with 16 heads and RoBERTa's own vocabulary of 50,265 read real passages in
windows of up to 512 tokens: an encoder is read from disk, one update of 48 windows is made in
micro-batches, a checkpoint and the reader are written, and a fresh process reads the reader and
answers ten questions of the dev sample. Learning is no part of it. Prints a Markdown table and
writes it to benchmarks/results/.

    python benchmarks/large_shape.py
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from common import SHARED, header

RESULTS = Path(__file__).parent / "results"
QUESTIONS = 10
MAX_TOKENS = 512


class Meter:
    """Time and peak memory from one lap to the next, in this process.

    Time is processor time of all threads together, which other work on the machine does not
    lengthen, beside that by the clock.
    """

    def __init__(self) -> None:
        self.laps: list[tuple[str, float, float, float]] = []
        self._begin()

    def lap(self, title: str) -> None:
        """Ends what is called `title`; it is kept with its seconds and MB (1,000,000 bytes)."""
        busy = time.process_time() - self._busy_before
        seconds = time.perf_counter() - self._began
        self.laps.append((title, busy, seconds, _peak_memory_mb()))
        self._begin()

    def _begin(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        self._began, self._busy_before = time.perf_counter(), time.process_time()


def _peak_memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6


def encode(folder: Path) -> Meter:
    """Writes an encoder with random weights, which stands for a pre-trained one."""
    from readers import LARGE, save_encoder

    meter = Meter()
    save_encoder(folder / "encoder", LARGE)
    meter.lap("random encoder made and written")
    return meter


def train(folder: Path, micro_batch: int) -> Meter:
    """Reads the encoder and makes one update, a checkpoint and a reader of it."""
    import torch
    from readers import sample_features, training_config

    from roberta_squad_pipeline.distributed.processes import Processes
    from roberta_squad_pipeline.distributed.stopping import StopRequest
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
    from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
    from roberta_squad_pipeline.reader.device import fast_precision
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader, save_reader
    from roberta_squad_pipeline.training.checkpoint import Checkpoints
    from roberta_squad_pipeline.training.job import first_reader
    from roberta_squad_pipeline.training.loop import fit_reader

    cpu = torch.device("cpu")
    precision = fast_precision(cpu)
    model = ModelConfig(
        start=None,
        encoder=str(folder / "encoder"),
        dropout=0.1,
        attention_dropout=0.1,
        answerability_input="first_token",
    )
    config = training_config(
        updates=1, warmup_updates=0, micro_batch=micro_batch, precision=precision
    )
    meter = Meter()
    features = sample_features("train", MAX_TOKENS)
    meter.lap("features of 3,250 training questions")
    reader = first_reader(features, model, config, None).reader
    meter.lap("encoder read, heads drawn")
    fit_reader(
        reader,
        features,
        config,
        validation=None,
        processes=Processes.alone(cpu),
        strategy="ddp",
        checkpoints=Checkpoints(folder / "checkpoints"),
        stop=StopRequest(),
        on_record=lambda _: meter.lap(
            f"one update of {config.batch_size} windows, {micro_batch} at a time, {precision}"
        ),
    )
    meter.lap("checkpoint written")
    header = ReaderHeader(
        tokenizer=features.meta.tokenizer,
        windows=features.meta.windows,
        inference=InferenceConfig(
            batch_windows=32,
            precision=precision,
            max_answer_tokens=48,
            n_best=20,
            null_score="best_span",
        ),
        dropout=model.dropout,
        answerability_input="first_token",
        recipe={},
    )
    save_reader(
        TrainedReader(reader, PassageTokenizer.load(model.source), header), folder / "reader"
    )
    meter.lap("reader written")
    return meter


def answer(folder: Path) -> Meter:
    """Reads the reader and asks it."""
    from roberta_squad_pipeline import Reader

    dev = json.loads((SHARED / "squad/dev-sample.json").read_text(encoding="utf-8"))
    asked = [
        (entry["question"], paragraph["context"])
        for article in dev["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    ]
    meter = Meter()
    reader = Reader.load(folder / "reader")
    meter.lap("reader read")
    reader.answer_all(asked[:QUESTIONS])
    meter.lap(f"{QUESTIONS} questions answered")
    return meter


STAGES = ("encode", "train", "answer")


def main() -> None:
    """Measures each stage in a process of its own, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--micro-batch", type=int, default=3)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.stage:
        measure = {
            "encode": encode,
            "train": partial(train, micro_batch=options.micro_batch),
            "answer": answer,
        }
        print(json.dumps(measure[options.stage](options.folder).laps))
        return
    laps = []
    with tempfile.TemporaryDirectory() as name:
        for stage in STAGES:
            command = [sys.executable, __file__, "--stage", stage, "--folder", name]
            command += ["--micro-batch", str(options.micro_batch)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            laps += json.loads(run.stdout.splitlines()[-1])
    text = report(laps, options.micro_batch)
    print(text)
    (RESULTS / f"large_shape_cpu_{time.strftime('%Y-%m-%d')}.md").write_text(text)


def report(laps: list[tuple[str, float, float, float]], micro_batch: int) -> str:
    """The results file."""
    rows = "\n".join(
        f"| {title} | {busy:.1f} | {seconds:.1f} | {mb:,.0f} |" for title, busy, seconds, mb in laps
    )
    return f"""# RoBERTa large's true shape: time and memory

{header("torch", "transformers", "tokenizers", "roberta_squad_pipeline")}

`python benchmarks/large_shape.py --micro-batch {micro_batch}`: 24 layers of 1,024, 16 heads, 50,265
entries, random weights, RoBERTa's own tokenizer, real passages in windows of up to {MAX_TOKENS}
tokens. Each stage once. Processor time is that of all threads together; other work on the machine
lengthens the time by the clock. Peak memory is the process's while it was at the stage, with what
it held from earlier ones.

| stage | processor time, s | by the clock, s | peak memory, MB |
| --- | --- | --- | --- |
{rows}
"""


if __name__ == "__main__":
    main()
