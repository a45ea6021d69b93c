"""Tells a person what is going on: a bar in a terminal, a line now and then in a log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, str], None]
"""Takes how many units were done since the last call, and what is worth saying about them."""

_FIRST_LINE_S, _LINES_GROW, _LONGEST_PAUSE_S = 10.0, 1.5, 600.0
"""Pauses between lines: minutes take a few of these, and days are told of six times an hour."""

_logger = logging.getLogger(__name__)


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Shows how far a piece of work is, and how long it will still take.

    Args:
        title: What is being done.
        total: Units of work in all.
        unit: What is counted, in the plural.

    Yields:
        To be called with every piece of work that is done.
    """
    # The console is the log's own, so that lines and bar do not overwrite each other.
    shown = _bar if rich.get_console().is_terminal else _lines
    with shown(title, total, unit) as advance:
        yield advance


@contextmanager
def _bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    # Eighty columns hold all of it; what a narrower terminal cuts off comes last.
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=6),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TimeRemainingColumn(compact=True),
        TextColumn("left{task.fields[note]}"),
    )
    with Progress(*columns, console=rich.get_console()) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda done, note: bar.update(task, advance=done, note=_listed(note))


@contextmanager
def _lines(title: str, total: int, unit: str) -> Iterator[Advance]:
    said, pause = time.monotonic(), _FIRST_LINE_S
    completed = completed_when_said = 0

    def advance(done: int, note: str) -> None:
        nonlocal completed, said, completed_when_said, pause
        completed += done
        now = time.monotonic()
        if now - said < pause and completed < total:
            return
        pause = min(pause * _LINES_GROW, _LONGEST_PAUSE_S)
        # Not since the beginning: what was taken over from an earlier run took no time.
        left = (now - said) / (completed - completed_when_said) * (total - completed)
        said, completed_when_said = now, completed
        done_now = f"{completed}/{total} {unit}{_listed(note)}"
        _logger.info("%s: %s, %.0f s left", title, done_now, left)

    yield advance


def _listed(note: str) -> str:
    return f", {note}" if note else ""
