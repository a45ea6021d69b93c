"""Validates ever larger SQuAD files: seconds, peak memory, and whether every fault is counted.

The files are a real sample with its articles again and again, passages and ids distinct, so that
whatever is found in the sample is to be found as many times. Each is validated in a process of its
own, whose peak memory is told. Prints a Markdown table.

    python benchmarks/bench_validate.py --megabytes 1 10 100 1000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import SHARED, header, peak_memory_mb, write_enlarged
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.pipelines.validate.nodes import token_limits
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.validation.check import validate_files

SAMPLE = SHARED / "squad/train-sample.json"
WINDOWS = WindowConfig(order="passage_first", max_tokens=512, max_question_tokens=128, stride=128)


def validate(path: Path) -> dict[str, object]:
    """Validates one file in this process."""
    encoder = str(SHARED / "roberta-tokenizer")
    model = ModelConfig(
        start=None,
        encoder=encoder,
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )
    limits = token_limits(model, WINDOWS, max_answer_tokens=48)
    before = peak_memory_mb()
    began, began_cpu = time.perf_counter(), time.process_time()
    report = validate_files({"train": path}, on_misaligned="error", limits=limits).files["train"]
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - began_cpu,
        "before_mb": before,
        "peak_mb": peak_memory_mb(),
        "counts": asdict(report.counts),
        "found": {finding.kind: finding.count for finding in report.findings},
    }


def in_own_process(path: Path) -> dict[str, Any]:
    """Validates one file in another process, whose memory nothing else has used."""
    command = [sys.executable, __file__, "--file", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--file", type=Path, help="Validate this file and print the figures.")
    options = parser.parse_args()
    if options.file:
        print(json.dumps(validate(options.file)))
        return
    print(header("numpy", "pydantic", "jiter", "tokenizers"), "\n")
    print("| MB | questions | passages | s | CPU s | peak memory, MB | found |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    once = in_own_process(SAMPLE)
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in options.megabytes:
            path = Path(folder) / "large.json"
            times = round(megabytes * 1e6 / SAMPLE.stat().st_size) or 1
            write_enlarged(SAMPLE, path, times)
            size_mb = path.stat().st_size / 1e6
            row = in_own_process(path)
            expected = {kind: count * times for kind, count in once["found"].items()}
            found = "all" if row["found"] == expected else f"{row['found']} of {expected}"
            print(
                f"| {size_mb:,.0f} | {row['counts']['questions']:,} "
                f"| {row['counts']['passages']:,} | {row['seconds']:.1f} "
                f"| {row['cpu_seconds']:.1f} | {row['peak_mb']:.0f} "
                f"(before: {row['before_mb']:.0f}) | {found}: "
                f"{', '.join(f'{kind} {count:,}' for kind, count in row['found'].items())} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
