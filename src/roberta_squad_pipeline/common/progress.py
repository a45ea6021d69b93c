"""Shows progress: a bar in a terminal, or a line now and then in a log."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import rich
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Advance(Protocol):
    """Takes the number of units done since the last call, and a note to show."""

    def __call__(self, done: int, note: str = "") -> None: ...  # noqa: D102


_FIRST_LINE_S, _LINES_GROW, _LONGEST_PAUSE_S = 10.0, 1.5, 600.0
"""Pauses between lines: a few lines in the first minutes, later six per hour."""

_TAKEN_OVER_S = 1.0
"""Units that come so soon after the first one were taken over from an earlier run, without work."""

_logger = logging.getLogger(__name__)


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Shows how much of a task is done, and how long the rest will take.

    Args:
        title: The name of the task.
        total: The total number of units.
        unit: The name of the units, in the plural.

    Yields:
        A function to call whenever units are done.
    """
    # The same console as for the log, so that lines and bar do not overwrite each other.
    shown = _bar if rich.get_console().is_terminal else _lines
    with shown(title, total, unit) as advance:
        yield advance


@contextmanager
def _bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    # This fits into eighty columns; a narrower terminal cuts off the end.
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=6),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TimeRemainingColumn(compact=True),
        TextColumn("left{task.fields[note]}"),
    )
    with Progress(*columns, console=rich.get_console()) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda done, note="": bar.update(task, advance=done, note=_listed(note))


@contextmanager
def _lines(title: str, total: int, unit: str) -> Iterator[Advance]:
    began, said, pause = math.inf, 0.0, _FIRST_LINE_S
    completed = completed_when_said = 0

    def advance(done: int, note: str = "") -> None:
        nonlocal began, completed, said, completed_when_said, pause
        completed += done
        now = time.monotonic()
        began = min(began, now)
        if now - began < _TAKEN_OVER_S:
            said, completed_when_said = now, completed
        if now - said < pause and completed < total:
            return
        pause = min(pause * _LINES_GROW, _LONGEST_PAUSE_S)
        timed = max(completed - completed_when_said, 1)
        left = (now - said) / timed * (total - completed)
        said, completed_when_said = now, completed
        done_now = f"{completed}/{total} {unit}{_listed(note)}"
        _logger.info("%s: %s, %.0f s left", title, done_now, left)

    yield advance


def _listed(note: str) -> str:
    return f", {note}" if note else ""
