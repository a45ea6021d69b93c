"""Predicts ever larger files of questions: questions per second, and peak memory beside the reader.

Questions are the embedded generator's, a seed for each hundred passages, written as JSON Lines or
Parquet without answers. Each file is answered in a process of its own, as `kedro predict` does with
one; its memory is told once the reader is loaded, and at its peak. Prints a Markdown table.

    kedro run && python benchmarks/bench_predict.py --questions 10000 100000 1000000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from common import header, peak_memory_mb
from roberta_squad_pipeline.demo.generator import generate
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.inference.job import answer_questions_of
from roberta_squad_pipeline.reader.storage import load_reader

ALONE = DistributedConfig(
    processes=1,
    nodes=1,
    node_rank=0,
    rendezvous=None,
    join_timeout_s=1,
    strategy="ddp",
    max_restarts=0,
)
AT_ONCE = 10_000


def records() -> Iterator[dict[str, str]]:
    """Questions without answers, as many as are taken."""
    for seed in count():
        for article in generate("dev", passages=100, seed=seed)["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield {
                        "id": f"{seed}-{asked['id']}",
                        "question": asked["question"],
                        "context": paragraph["context"],
                    }


def write_questions(path: Path, questions: int) -> None:
    """Writes a file of questions, a part at a time."""
    left = islice(records(), questions)
    if path.suffix == ".parquet":
        schema = pa.schema(dict.fromkeys(("id", "question", "context"), pa.string()))
        with pq.ParquetWriter(path, schema) as writer:
            while part := list(islice(left, AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(part, schema))
    else:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in left)


def predict(reader: Path, questions: Path, output: Path) -> dict[str, float]:
    """Answers a file in this process."""
    trained = load_reader(reader)
    before = peak_memory_mb()
    began, began_cpu = time.perf_counter(), time.process_time()
    done = answer_questions_of(questions, output, trained, ALONE, name="bench")
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - began_cpu,
        "before_mb": before,
        "peak_mb": peak_memory_mb(),
        "answered": done.questions - done.errors,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--reader", type=Path, default=Path("data/06_models/demo"))
    parser.add_argument("--form", choices=["jsonl", "parquet"], default="jsonl")
    parser.add_argument("--file", type=Path, help="Answer this file and print the figures.")
    options = parser.parse_args()
    if options.file:
        output = options.file.with_stem("answers")
        print(json.dumps(predict(options.reader, options.file, output)))
        return
    print(header("torch", "tokenizers", "pyarrow"), "\n")
    print(
        "| questions | MB in | MB out | s | CPU s | questions/s | questions/CPU s "
        "| MB with the reader | peak MB | beside it |"
    )
    print("| --- " * 10 + "|")
    for questions in options.questions:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"questions.{options.form}"
            write_questions(path, questions)
            command = [sys.executable, __file__, "--file", path, "--reader", options.reader]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout)
            sizes = [file.stat().st_size / 1e6 for file in (path, path.with_stem("answers"))]
        if row["answered"] != questions:
            raise SystemExit(f"{row['answered']} of {questions} questions were answered")
        print(
            f"| {questions:,} | {sizes[0]:,.0f} | {sizes[1]:,.0f} | {row['seconds']:,.0f} "
            f"| {row['cpu_seconds']:,.0f} | {questions / row['seconds']:,.0f} "
            f"| {questions / row['cpu_seconds']:,.0f} | {row['before_mb']:,.0f} "
            f"| {row['peak_mb']:,.0f} | {row['peak_mb'] - row['before_mb']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
