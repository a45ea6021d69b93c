"""How much of `kedro run --pipeline train` is not spent on forward, backward and optimiser.

Runs the command as a user does, in a project folder of its own: the real sample of SQuAD 2.0 with
RoBERTa's own tokenizer, on an encoder of MiniLM's shape with random weights, bf16, one epoch in
updates of 48 windows. The share is counted from the end of the first update to the end of the
process: batches, the loop, progress, MLflow, checkpoints and the reader that is saved.

    python benchmarks/bench_chain.py
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import SHARED, header

ROOT = Path(__file__).parents[1]


def child(told: Path, arguments: list[str]) -> None:
    """One `kedro` command, with every step timed."""
    from kedro.framework.cli import main as kedro

    from roberta_squad_pipeline.training import loop

    usual = loop._step
    steps: list[tuple[float, float]] = []

    def timed(*args, **named):
        began = time.monotonic()
        loss = usual(*args, **named)
        steps.append((began, time.monotonic()))
        return loss

    loop._step = timed
    sys.argv = ["kedro", *arguments]
    try:
        kedro()
    finally:
        told.write_text(json.dumps(steps))


def run(folder: Path, updates: int) -> tuple[list[tuple[float, float]], float, float]:
    """Trains in a new project folder; gives when steps began and ended, and the process."""
    from readers import MINI, save_encoder

    for name in ("pyproject.toml", "conf", ".telemetry"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "src").mkdir()
    save_encoder(folder / "encoder", MINI)
    params = {
        "run": "chain",
        "data.train": SHARED / "squad/train-sample.json",
        "data.dev": SHARED / "squad/dev-sample.json",
        "model.encoder": folder / "encoder",
        "model.dropout": 0.1,
        "model.attention_dropout": 0.1,
        "features.max_tokens": 384,
        "features.max_question_tokens": 64,
        "features.stride": 128,
        "training.updates": updates,
        "training.batch_size": 48,
        "training.warmup_updates": 4,
        "training.lr": 3e-5,
        "training.precision": "auto",
    }
    told = folder / "steps.json"
    command = [
        *(sys.executable, __file__, "--child", str(told), "run", "--pipeline", "train"),
        *("--params", ",".join(f"{name}={value}" for name, value in params.items())),
    ]
    began = time.monotonic()
    subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    ended = time.monotonic()
    return json.loads(told.read_text()), began, ended


def main() -> None:
    """Runs the command once and prints where its time went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=74, help="74 are one epoch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps, began, ended = run(Path(folder), options.updates)
    first_end = steps[0][1]
    wall = ended - first_end
    inside = sum(end - start for start, end in steps[1:])
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(steps)]
    print(header("torch", "transformers", "kedro", "mlflow"))
    print(f"{len(steps)} updates; {ended - began:.1f} s in all.\n")
    print("| from the end of the first update | s |\n| --- | --- |")
    print(f"| to the end of the process | {wall:.1f} |")
    print(f"| of it in forward, backward and optimiser | {inside:.1f} |")
    print(f"| of it between updates, without the longest gap | {sum(gaps) - max(gaps):.1f} |")
    print(f"| of it in the longest gap, where a checkpoint is written | {max(gaps):.1f} |")
    print(f"| of it behind the last update | {ended - steps[-1][1]:.1f} |")
    print(f"\nnot in forward, backward and optimiser: {(wall - inside) / wall:.1%}")
    print(f"before the end of the first update: {first_end - began:.1f} s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
