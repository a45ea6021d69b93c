"""Makes every ratio of docs/speed.md again, one benchmark after the other.

Keeps them in `benchmarks/results/ratios/`, prints a table beside those of the last run on such a
machine, and says which fell by more than the turns of both runs are apart. Takes 10 to 20 minutes
on two cores; nothing else may run meanwhile.

    pip install -e '.[bench]' && python benchmarks/all.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common import RATIOS, header

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results" / "ratios"
COMMANDS = {
    "features": ("rates", "--repeats", "3"),
    "training": ("--turns", "3", "--updates", "4"),
    "inference": ("--turns", "3"),
    "span_search": (),
    "scoring": (),
    "startup": (),
}
Run = dict[str, Any]


def made_again(stages: Iterable[str]) -> Run:
    """The ratios of these benchmarks, with the machine and the commit, and which of them failed."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "ratios.jsonl"
        told.touch()
        for stage in stages:
            print(f"\n# {stage}\n", flush=True)
            ended = subprocess.run(
                [sys.executable, str(HERE / f"bench_{stage}.py"), *COMMANDS[stage]],
                env=os.environ | {RATIOS: str(told)},
                check=False,  # the others' minutes would be lost
            )
            failed += [stage] * (ended.returncode != 0)
        ratios = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    date, _, machine = header("torch", "transformers").partition(". ")
    return {
        "date": date,
        "machine": machine,
        "commit": commit.stdout.strip(),
        "ratios": ratios,
        "failed": failed,
    }


def last_run(machine: str) -> Run | None:
    """The newest that is kept of such a machine with the same versions."""
    runs = [json.loads(path.read_bytes()) for path in sorted(KEPT.glob("*.json"))]
    alike = [run for run in runs if run["machine"] == machine]
    return alike[-1] if alike else None


def table(run: Run, before: Run | None) -> str:
    """A Markdown table of a run's ratios, and which of them fell."""
    older = {row["stage"]: row for row in before["ratios"]} if before else {}
    since = f"{before['date']}, {before['commit']}" if before else "no run before"
    lines = [f"| stage | times as fast, by turn | {since} | |", "| --- " * 4 + "|"]
    for row in run["ratios"]:
        was = older.get(row["stage"])
        fell = was is not None and row["greatest"] < was["least"]
        cells = (row["stage"], told(row), told(was) if was else "", "**fell**" if fell else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def told(row: dict[str, Any]) -> str:
    """A ratio, and the least and greatest of single turns."""
    return f"{row['ratio']:.2f} ({row['least']:.2f} to {row['greatest']:.2f})"


def main() -> None:
    """Runs everything, and keeps and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="|".join(COMMANDS), help="all unless given")
    stages = parser.parse_args().stages or list(COMMANDS)
    if unknown := set(stages) - set(COMMANDS):
        parser.error(f"no such stage: {', '.join(unknown)}")
    run = made_again(stages)
    before = last_run(run["machine"])
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{time.strftime('%Y-%m-%d_%H%M')}.json"
    path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    print(f"\n{run['date']}. {run['machine']} Commit {run['commit']}.\n\n{table(run, before)}")
    print(f"\n{path}")
    if run["failed"]:
        sys.exit(f"failed: {', '.join(run['failed'])}")


if __name__ == "__main__":
    main()
