"""Kills training runs at random moments, starts them again, and compares with undisturbed ones.

Prints a Markdown table. Every run trains the embedded encoder with dropout on the embedded data,
as its own process tree; weights, the optimiser's state and the loss of every update must come out
bit by bit as without the fault.

    python benchmarks/faults_training.py --tries 20
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
UPDATES = 40
CHECKPOINT_EVERY = 4
PATIENCE_S = 300
WORKER = "roberta_squad_pipeline.training.worker"
"""The module that workers run, after which their command names the folder of their job."""


def child(features: Path, checkpoints: Path, processes: int, precision: str) -> None:
    """One training run, which tells its updates on stdout."""
    import torch
    from readers import training_config

    from roberta_squad_pipeline.demo import PACKAGED_ENCODER
    from roberta_squad_pipeline.distributed.config import DistributedConfig
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
    from roberta_squad_pipeline.training import job

    torch.set_num_threads(1)
    training = training_config(
        updates=UPDATES,
        warmup_updates=4,
        batch_size=16,
        micro_batch=4,
        lr=1e-3,
        max_grad_norm=1.0,
        precision=precision,
        checkpoint_every=CHECKPOINT_EVERY,
        resume="auto",
    )
    model = ModelConfig(
        start=None,
        encoder=str(PACKAGED_ENCODER),
        dropout=0.1,
        attention_dropout=0.1,
        answerability_input="first_token",
    )
    distributed = DistributedConfig(
        processes=processes,
        nodes=1,
        node_rank=0,
        rendezvous=None,
        join_timeout_s=60,
        strategy="ddp",
        max_restarts=3,
    )
    opened = Features.open(features)
    job.run_training(
        job.TrainingJob(
            features=features,
            teacher=None,
            validation=None,
            inference=InferenceConfig(
                batch_windows=64,
                precision="fp32",
                max_answer_tokens=48,
                n_best=20,
                null_score="best_span",
            ),
            model=model,
            start=None,
            training=training,
            distributed=distributed,
            checkpoints=checkpoints,
        ),
        job.first_reader(opened, model, training, None).reader,
        opened,
        name="faults",
        on_record=lambda record: print("update", record.update, flush=True),
        on_restart=lambda times: print("restart", times, flush=True),
    )


@dataclass
class Setting:
    """What a run is started with."""

    features: Path
    processes: int
    precision: str

    def start(self, checkpoints: Path) -> subprocess.Popen[str]:
        """Starts a run in the background."""
        command = [sys.executable, __file__, "--child", str(self.features), str(checkpoints)]
        return subprocess.Popen(
            [*command, str(self.processes), self.precision],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def finish(self, checkpoints: Path) -> str:
        """Runs to the end; gives what it printed."""
        process = self.start(checkpoints)
        said, _ = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            raise SystemExit(f"a run ended with {process.returncode}:\n{said}")
        return said


def result(checkpoints: Path) -> tuple[str, list[float]]:
    """Hash of weights and optimiser state, and the loss of every update."""
    final = checkpoints / f"update-{UPDATES:06d}"
    state = hashlib.sha256((final / "state.safetensors").read_bytes()).hexdigest()
    records = json.loads((final / "records.json").read_bytes())
    return state, [record["loss"] for record in records]


def newest(checkpoints: Path) -> int:
    """The update of the newest checkpoint, 0 if there is none."""
    return max((int(path.name[7:]) for path in checkpoints.glob("update-*")), default=0)


def workers_of(checkpoints: Path) -> list[int]:
    """Processes that were launched for a run: those that hold its job open by name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode().split("\0")
            if WORKER not in command:
                continue
            folder = Path(command[command.index(WORKER) + 1])
            job = json.loads((folder / "job.json").read_text())
        except (OSError, ValueError):
            continue
        if job["checkpoints"] == str(checkpoints):
            found.append(int(path.parent.name))
    return found


@dataclass
class Try:
    """One fault and what came of it."""

    lost_updates: int
    in_checkpoint: bool
    worker_lived_s: float
    same: bool


Hit = Callable[[subprocess.Popen[str], Path], None]


def wait_for_update(process: subprocess.Popen[str], update: int) -> int:
    """Reads on until an update is told; gives the last one."""
    last = 0
    for line in process.stdout or ():
        kind, number = line.split()
        if kind == "update":
            last = int(number)
        if last >= update:
            break
    return last


def one_try(
    setting: Setting, expected: tuple[str, list[float]], sent: signal.Signals, target: str, at: str
) -> Try:
    """A run that is hit once, then carried on to its end.

    Args:
        setting: How it is started.
        expected: The result without a fault.
        sent: The signal.
        target: "run" for the process that was started, "worker" for one of those it launched.
        at: "random" for any moment, "checkpoint" for one while a checkpoint is being written.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder) / "checkpoints"
        process = setting.start(checkpoints)
        made = wait_for_update(process, random.randint(1, UPDATES - 2 * CHECKPOINT_EVERY))
        if at == "random":
            time.sleep(random.uniform(0, 0.3))
        else:
            deadline = time.monotonic() + PATIENCE_S
            while not list(checkpoints.glob(".update-*")) and time.monotonic() < deadline:
                time.sleep(0.0005)
            time.sleep(random.uniform(0, 0.02))
        writing = bool(list(checkpoints.glob(".update-*")))
        workers = workers_of(checkpoints)
        if len(workers) != (setting.processes if setting.processes > 1 else 0):
            raise SystemExit(f"found {len(workers)} workers of {setting.processes} processes")
        os.kill(random.choice(workers) if target == "worker" else process.pid, sent)
        if target == "worker":
            said, _ = process.communicate(timeout=PATIENCE_S)
            same = process.returncode == 0 and "restart 1" in said
            return Try(0, writing, 0.0, same and result(checkpoints) == expected)
        process.wait(timeout=PATIENCE_S)
        lived = outlived(workers)
        said, _ = process.communicate(timeout=PATIENCE_S)
        made = max([made, *(int(line.split()[1]) for line in said.splitlines())])
        lost = max(0, made - newest(checkpoints))
        setting.finish(checkpoints)
        return Try(lost, writing, lived, result(checkpoints) == expected)


def outlived(workers: list[int]) -> float:
    """Seconds until none of these processes is there any more."""
    began = time.monotonic()
    while any(is_alive(pid) for pid in workers):
        if time.monotonic() - began > PATIENCE_S:
            break
        time.sleep(0.01)
    return time.monotonic() - began if workers else 0.0


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is only waited for does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def row(fault: str, tries: list[Try]) -> str:
    """A line of the table."""
    return (
        f"| {fault} | {len(tries)} | {sum(t.in_checkpoint for t in tries)} "
        f"| {max(t.lost_updates for t in tries)} | {max(t.worker_lived_s for t in tries):.2f} "
        f"| {sum(not t.same for t in tries)} |"
    )


def make_features(path: Path) -> None:
    """Features of a part of the embedded data."""
    import pyarrow as pa

    from roberta_squad_pipeline.datasets import FeaturesDataset
    from roberta_squad_pipeline.demo import PACKAGED_ENCODER
    from roberta_squad_pipeline.demo.generator import generate
    from roberta_squad_pipeline.features.build import build_features
    from roberta_squad_pipeline.features.config import WindowConfig
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
    from roberta_squad_pipeline.squad.dataset import read_squad

    squad = path.with_suffix(".json")
    squad.write_text(json.dumps(generate("train", passages=40, seed=1)))
    tokenizer = PassageTokenizer.load(str(PACKAGED_ENCODER))
    windows = WindowConfig(order="passage_first", max_tokens=160, max_question_tokens=40, stride=64)
    batch = build_features(
        read_squad(squad, on_misaligned="error").passages,
        tokenizer=tokenizer,
        windows=windows,
        source=str(squad),
        data_sha256=hashlib.sha256(squad.read_bytes()).hexdigest(),
    )
    batches = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    FeaturesDataset(filepath=str(path)).save(batches)


def main() -> None:
    """Tries every fault and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--only", help="one setting, such as 2-bf16")
    parser.add_argument("--child", nargs=4)
    arguments = parser.parse_args()
    if arguments.child:
        features, checkpoints, processes, precision = arguments.child
        child(Path(features), Path(checkpoints), int(processes), precision)
        return
    random.seed(0)
    print(
        "| fault | tries | of them while a checkpoint was written | most updates lost "
        "| longest that a worker outlived its launcher, s | results that differ |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "train.arrow"
        make_features(features)
        for processes, precision in ((1, "fp32"), (2, "fp32"), (1, "bf16"), (2, "bf16")):
            if arguments.only not in (None, f"{processes}-{precision}"):
                continue
            setting = Setting(features, processes, precision)
            undisturbed = Path(folder) / f"{processes}-{precision}"
            setting.finish(undisturbed)
            expected = result(undisturbed)
            many = "1 process" if processes == 1 else f"{processes} processes"

            def hit(name: str, sent: signal.Signals, target: str, tries: int) -> None:
                moments = ["random", "checkpoint"] * tries
                done = [
                    one_try(setting, expected, sent, target, at)  # noqa: B023
                    for at in moments[:tries]
                ]
                print(row(f"{name}, {many}, {precision}", done), flush=True)  # noqa: B023

            hit("SIGKILL", signal.SIGKILL, "run", arguments.tries)
            if precision == "fp32":
                hit("SIGTERM", signal.SIGTERM, "run", max(1, arguments.tries // 4))
                hit("Ctrl-C", signal.SIGINT, "run", max(1, arguments.tries // 4))
            if processes == 2:
                hit("SIGKILL of a worker", signal.SIGKILL, "worker", max(1, arguments.tries // 2))


if __name__ == "__main__":
    main()
