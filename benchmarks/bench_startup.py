"""Times `kedro registry list` in this project and in an empty one, in turn; prints Markdown.

python benchmarks/bench_startup.py
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import header, spread, take_turns, times_faster

ROOT = Path(__file__).parents[1]
KEDRO = (sys.executable, "-m", "kedro")

# With bytecode of the project's own modules on disk, as everywhere but where this is set.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT["DO_NOT_TRACK"] = "1"


def kedro(*arguments: str, project: Path) -> None:
    """One Kedro command in a process of its own."""
    subprocess.run(
        [*KEDRO, *arguments], cwd=project, env=ENVIRONMENT, check=True, capture_output=True
    )


def main() -> None:
    """Times and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        new = ("new", "--name", "empty", "--tools", "none", "--example", "n", "--telemetry", "no")
        kedro(*new, project=Path(folder))
        projects = {"empty": Path(folder) / "empty", "ours": ROOT}
        listing = {
            name: partial(kedro, "registry", "list", project=project)
            for name, project in projects.items()
        }
        seconds = take_turns(listing, repeats)
    print(header("kedro", "kedro-viz", "mlflow", "pydantic"))
    print("\n| `kedro registry list` | median (least to greatest), s |\n| --- | --- |")
    print(f"| a project that `kedro new` has just made | {spread(seconds['empty'])} |")
    print(f"| this project | {spread(seconds['ours'])} |")
    print(f"| ratio | {times_faster(seconds, 'empty', 'ours'):.2f} |")
    times_faster(seconds, "ours", "empty", stage="start-up, beside an empty project")


if __name__ == "__main__":
    main()
