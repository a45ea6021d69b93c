"""Kills a real MLflow server at random moments of a run, starts it again, and counts what is lost.

Prints a row of a Markdown table.

    python benchmarks/faults_tracking.py --tries 10
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from roberta_squad_pipeline.tracking.mlflow_run import open_run
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.tracker import Journal

STEPS = 300
PATIENCE_S = 120


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Starts a server and waits until it answers."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            MlflowClient(f"http://127.0.0.1:{port}").search_experiments()
        except MlflowException:
            time.sleep(0.2)
        else:
            return process
    raise SystemExit("the server does not answer")


def one_try(folder: Path, port: int) -> tuple[int, float]:
    """A run during which the server is killed; gives lost operations and the longest wait."""
    server = start(folder, port)
    run = open_run(
        Journal(folder, "faults", folder / "unsent"),
        "run",
        Provenance("nobody", "faults_tracking.py", "none", "none"),
        {},
    )
    killed_at = random.randrange(STEPS)
    longest = 0.0
    for step in range(STEPS):
        began = time.perf_counter()
        run.log_metrics({"loss": 1 / (step + 1)}, step=step)
        if step == STEPS // 2:
            run.log_text("half", "half.txt")
        longest = max(longest, time.perf_counter() - began)
        if step == killed_at:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        time.sleep(0.01)
    back = start(folder, port)
    run.end("FINISHED")
    client = MlflowClient(f"http://127.0.0.1:{port}")
    history = client.get_metric_history(run.run_id, "loss")
    expected = [(step, 1 / (step + 1)) for step in range(STEPS)]
    arrived = [(metric.step, metric.value) for metric in history]
    lost = len(set(expected) - set(arrived)) + (arrived != expected)
    lost += [a.path for a in client.list_artifacts(run.run_id)] != ["half.txt"]
    lost += client.get_run(run.run_id).info.status != "FINISHED"
    os.killpg(back.pid, signal.SIGKILL)
    back.wait()
    return lost, longest


def main() -> None:
    """Tries and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10)
    tries = parser.parse_args().tries
    random.seed(0)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    results = []
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
            results.append(one_try(Path(folder), port))
    print("| fault | tries | operations each | lost | longest wait of an update, s |")
    print("| --- | --- | --- | --- | --- |")
    lost, waits = zip(*results, strict=True)
    print(
        f"| MLflow server killed and started again | {tries} | {STEPS + 2} | {sum(lost)} "
        f"| {max(waits):.4f} |"
    )


if __name__ == "__main__":
    main()
