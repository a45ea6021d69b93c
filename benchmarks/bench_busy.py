"""Rates on a machine that is not idle: one run alone, and two side by side.

Every side is a process of its own that trains, answers, or builds features for a given time, on the
real sample of SQuAD 2.0, with encoders of the embedded demo's shape and of MiniLM's, in the number
format that the machine computes fast in. Torch's threads wait for each other, and by default in a
busy loop: one that waits keeps the one that it waits for from its core. The recipe's side is
Hugging Face's question-answering loop, padded by batches.

    python benchmarks/bench_busy.py
    python benchmarks/bench_busy.py --spins 0 1000 10000 100000 300000  # to choose the length
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

WORK = ("training small", "recipe small", "training", "recipe", "inference", "features")
SMALL = {"layers": 4, "hidden": 128, "heads": 4}
"""The embedded demo's shape."""
BATCH = 8
"""Few windows an update, so that a turn is short on a busy machine too."""
WARM_UP_SECONDS = 3.0


def child(work: str, folder: Path, number: int, seconds: float) -> None:
    """Does one kind of work until its time is over, and leaves how much it did per second."""
    import roberta_squad_pipeline  # noqa: F401 (sets OpenMP up before torch is loaded)

    turn = prepared(work)
    began = time.monotonic()
    while time.monotonic() < began + WARM_UP_SECONDS:
        turn()
    (folder / f"ready-{number}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    done, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        done += turn()
    rate = done / (time.monotonic() - began)
    (folder / f"rate-{number}").write_text(json.dumps(rate))


def prepared(work: str) -> Callable[[], int]:
    """One turn of the work, which returns how many examples it was."""
    from readers import MINI, random_encoder, sample_features

    if work == "features":
        return feature_turn()
    import torch

    from roberta_squad_pipeline.reader.device import fast_precision

    precision = fast_precision(torch.device("cpu"))
    if work == "inference":
        few = sample_features("train", 384, every=100)
        return inference_turn(random_encoder(MINI), few, precision)
    features = sample_features("train", 384)
    import bench_training

    side, _, small = work.partition(" ")
    size = {"shape": SMALL if small else MINI, "batch": BATCH, "micro_batch": BATCH}
    if side == "training":
        update = bench_training.ours(features, precision, 1, **size)
    else:
        update = bench_training.recipe(
            features, grouped=False, bf16=precision == "bf16", padding="longest", updates=1, **size
        )

    def turn() -> int:
        update()
        return BATCH

    return turn


def inference_turn(encoder, features, precision) -> Callable[[], int]:
    """Answers a few questions, again and again."""
    import torch
    from readers import inference_config

    from roberta_squad_pipeline.inference.prediction import predict
    from roberta_squad_pipeline.reader.model import ReaderModel

    reader = ReaderModel(encoder, 0.1, "first_token").eval()
    config = inference_config(precision, BATCH)
    windows = len(features.windows.question)

    def turn() -> int:
        device = torch.device("cpu")
        list(predict(reader, features, config, device=device, on_windows=lambda _: None))
        return windows

    return turn


def feature_turn() -> Callable[[], int]:
    """Builds the windows of the sample by a tokenizer that remembers nothing of the last turn."""
    from readers import sample_features

    def turn() -> int:
        return len(sample_features("train", 384).windows.question)

    return turn


def rates(work: str, runs: int, seconds: float, environment: dict[str, str]) -> list[float]:
    """Examples per second of each of several processes that do the same at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, __file__, "--child", work, str(folder)]
        children = [
            subprocess.Popen([*command, str(number), str(seconds)], env=os.environ | environment)
            for number in range(runs)
        ]
        while len(list(folder.glob("ready-*"))) < runs:
            if any(child.poll() for child in children):
                raise SystemExit("a side failed")
            time.sleep(0.05)
        (folder / "go").touch()
        for process in children:
            process.wait()
        return [json.loads((folder / f"rate-{number}").read_text()) for number in range(runs)]


def row(label: str, work: str, options: argparse.Namespace, environment: dict[str, str]) -> str:
    """A line of the table: alone, each of two, and the share of the rate alone that each has."""
    alone, both = [], []
    for _ in range(options.repeats):
        alone += rates(work, 1, options.seconds, environment)
        both += rates(work, 2, options.seconds, environment)
    share = statistics.median(both) / statistics.median(alone)
    return (
        f"| {work} | {label} | {statistics.median(alone):.1f} ({min(alone):.1f} to "
        f"{max(alone):.1f}) | {statistics.median(both):.1f} ({min(both):.1f} to {max(both):.1f}) "
        f"| {share:.0%} |"
    )


def settings(options: argparse.Namespace) -> list[tuple[str, dict[str, str]]]:
    """What is set beside the program's own choice, with a name for it."""
    if options.spins:
        return [(f"GOMP_SPINCOUNT={spin}", {"GOMP_SPINCOUNT": spin}) for spin in options.spins]
    if options.threads:
        return [(f"{threads} threads", {"OMP_NUM_THREADS": threads}) for threads in options.threads]
    return [
        ("here", {}),
        ("one thread", {"OMP_NUM_THREADS": "1"}),
    ]


def main(arguments: Sequence[str]) -> None:
    """Measures the sides one after the other and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--work", nargs="*", default=WORK, choices=WORK)
    parser.add_argument("--threads", nargs="*", help="numbers of threads to try")
    parser.add_argument("--spins", nargs="*", help="lengths of the busy loop to try")
    options = parser.parse_args(arguments)
    from common import header

    print(header("torch", "transformers", "roberta_squad_pipeline"))
    print("\n| work | waiting | alone, examples/s | each of two | share |")
    print("| --- | --- | --- | --- | --- |")
    for work in options.work:
        for label, environment in settings(options):
            if work.startswith("recipe") and label == "here":
                continue  # the usual loop sets nothing
            print(row(label, work, options, environment), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        main(sys.argv[1:])
