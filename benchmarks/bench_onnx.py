"""Questions per second of a reader in torch and in onnxruntime, in fp32 and int8, with the sizes.

All sides answer the same features on the CPU by the same search, with as many threads as are asked
for; torch also as an ensemble of five such readers. The int8 model is made here without regard to
what it costs in F1, which `--pipeline export_onnx --params export.int8=true` looks at. Prints a
Markdown table.

    kedro run && python benchmarks/bench_onnx.py
"""

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import torch
from torch import nn

from common import header, spread, take_turns
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.onnx_export import quantise, write_onnx
from roberta_squad_pipeline.inference.prediction import predict
from roberta_squad_pipeline.reader.config import Precision
from roberta_squad_pipeline.reader.ensemble import EnsembleReader
from roberta_squad_pipeline.reader.onnx_reader import OnnxReader
from roberta_squad_pipeline.reader.storage import WEIGHTS, load_reader

MEMBERS = 5


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", type=Path, default=Path("data/06_models/demo"))
    parser.add_argument("--features", type=Path, default=Path("data/04_feature/demo/dev.arrow"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    trained, features = load_reader(options.reader), Features.open(options.features)
    questions = len(features.question_ids)
    ensemble = EnsembleReader([trained.in_torch] * MEMBERS)

    def answer(reader: nn.Module, precision: Precision) -> None:
        config = trained.inference.model_copy(update={"precision": precision})
        device = torch.device("cpu")
        for _ in predict(reader, features, config, device=device, on_windows=lambda _: None):
            pass

    print(header("torch", "onnxruntime"), "\n")
    print(f"{questions:,} questions in {len(features.windows.question):,} windows.\n")
    print("| side | threads | MB | s | questions/s |")
    print("| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        write_onnx(trained.in_torch, trained.header.windows, fp32)
        shutil.copy(fp32, int8)
        quantise(int8)
        weights, *exported = (
            file.stat().st_size / 1e6 for file in (options.reader / WEIGHTS, fp32, int8)
        )
        sizes = [weights, weights, MEMBERS * weights, *exported]
        for threads in options.threads:
            torch.set_num_threads(threads)
            os.environ["OMP_NUM_THREADS"] = str(threads)  # what onnxruntime goes by
            onnx_fp32, onnx_int8 = OnnxReader(fp32), OnnxReader(int8)
            seconds = take_turns(
                {
                    "torch fp32": lambda: answer(trained.in_torch, "fp32"),
                    "torch bf16": lambda: answer(trained.in_torch, "bf16"),
                    f"torch fp32, {MEMBERS} readers": lambda: answer(ensemble, "fp32"),
                    "ONNX fp32": lambda one=onnx_fp32: answer(one, "fp32"),
                    "ONNX int8": lambda one=onnx_int8: answer(one, "fp32"),
                },
                options.repeats,
            )
            for (side, taken), size in zip(seconds.items(), sizes, strict=True):
                print(
                    f"| {side} | {threads} | {size:.1f} "
                    f"| {spread(taken)} | {questions / statistics.median(taken):,.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
