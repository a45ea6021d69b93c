"""The most memory that training takes, beside the usual question-answering recipe's loop.

Every side makes updates of 16 windows of the real sample, up to 384 tokens, in one pass, with an
encoder of MiniLM's shape in fp32; each in a process of its own. What is counted begins before the
encoder is made: weights, gradients, Adam's state, activations, and what allocators keep. Prints a
Markdown table.

    python benchmarks/bench_memory.py
"""

import argparse
import subprocess
import sys
from pathlib import Path

from bench_training import MAX_TOKENS, ours, recipe
from readers import MINI, sample_features

from common import header

BATCH = 16
BASE = {"layers": 12, "hidden": 768, "heads": 12}
SHAPES = {"MiniLM": MINI, "base": BASE}
SIDES = {
    "recipe, padded to 384 (its default)": {"padding": "max_length"},
    "recipe, padded to the longest of a batch": {"padding": "longest"},
    "here": None,
}


def status_mb(field: str) -> float:
    """A figure of the kernel's on this process, in MB (1,000,000 bytes)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(value) * 1024 / 1e6


def measure(side: str, shape: str, updates: int) -> None:
    """Trains in this process and prints the peak, in MB."""
    features = sample_features("train", MAX_TOKENS)
    padding = SIDES[side]
    common = {"updates": updates, "shape": SHAPES[shape], "batch": BATCH, "micro_batch": BATCH}
    # The kernel's peak is set back to what is held now.
    Path("/proc/self/clear_refs").write_text("5")
    before = status_mb("VmRSS")
    if padding is None:
        ours(features, "fp32", **common)()
    else:
        recipe(features, grouped=False, bf16=False, **padding, **common)()
    print(status_mb("VmHWM") - before)


def main() -> None:
    """Runs each side and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--shape", choices=SHAPES, default="MiniLM")
    parser.add_argument("--side", choices=SIDES, help="Measure it in this process.")
    options = parser.parse_args()
    if options.side:
        measure(options.side, options.shape, options.updates)
        return
    print(header("torch", "transformers"))
    print(
        f"\n{options.shape}'s shape, {options.updates} updates of {BATCH} windows, fp32.\n\n"
        "| side | peak MB | of the recipe's default |\n| --- | --- | --- |"
    )
    peaks = []
    for side in SIDES:
        command = [sys.executable, __file__, "--side", side, "--shape", options.shape]
        command += ["--updates", str(options.updates)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peaks.append(float(done.stdout))
        print(f"| {side} | {peaks[-1]:,.0f} | {100 * peaks[-1] / peaks[0]:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
