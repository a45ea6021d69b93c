"""The code and the command of a run."""

import getpass
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from roberta_squad_pipeline.common.redaction import Redaction


@dataclass(frozen=True, slots=True)
class Provenance:
    """User, command and code of a run."""

    user: str
    command: str
    git_commit: str
    """Full hash, or "none" outside of a git checkout."""
    git_tree: str
    """"clean", "modified", or "none" outside of a git checkout."""


def provenance(project: Path, redaction: Redaction) -> Provenance:
    """Collects them from this process and the project's git checkout.

    Args:
        project: The project's folder.
        redaction: Removes what must not be recorded of the command.
    """
    commit = _git(project, "rev-parse", "HEAD")
    changes = _git(project, "status", "--porcelain")
    tree = "none" if changes is None else "modified" if changes else "clean"
    arguments = [redaction.text(argument) for argument in sys.argv[1:]]
    command = shlex.join([Path(sys.argv[0]).name, *arguments])
    return Provenance(_user(), command, commit or "none", tree)


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id without a name
        return "unknown"
