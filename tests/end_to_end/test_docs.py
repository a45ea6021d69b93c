"""Code blocks of the README and the documents that are marked to be run, as they are written.

Oracle: they end well, in a project in which the whole chain was run once.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```", re.DOTALL)
BLOCKS = [
    pytest.param(*block, id=f"{page.name}-{number}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, block in enumerate(MARKED.findall(page.read_text(encoding="utf-8")))
]
TYPED = "The Krearkock Bridge crosses the Shilgel.\n\nWhich river does it cross?\n"


def test_there_are_such_blocks() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize(("language", "block"), BLOCKS)
def test_block_runs(finished_copy: Path, language: str, block: str) -> None:
    program = ["bash", "-euo", "pipefail"] if language == "sh" else [sys.executable]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*program, "-c", block],
        cwd=finished_copy,
        env={**os.environ, "PATH": path},
        input=TYPED,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
