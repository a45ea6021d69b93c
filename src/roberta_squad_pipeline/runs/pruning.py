"""Runs of a search that end early if their validation scores fall behind those of others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Judge = Callable[[float, float], None]
"""Takes the criterion of an evaluation and the share of updates that are made, 0 to 1; raises
`Pruned` if the run is to end."""

_judge: ContextVar[Judge | None] = ContextVar("judge", default=None)


class Pruned(Exception):  # noqa: N818 - what happened to a run, and not a failure of it
    """Training was ended early; the message says after which share of the updates."""


@contextmanager
def judged_by(judge: Judge | None) -> Iterator[None]:
    """Lets a judge see the evaluations of runs in this block; None: they run to their end."""
    token = _judge.set(judge)
    try:
        yield
    finally:
        _judge.reset(token)


def show_evaluation(criterion: float, share: float) -> None:
    """Shows an evaluation to the judge, if there is one.

    Raises:
        Pruned: The run is to end.
    """
    judge = _judge.get()
    if judge is not None:
        judge(criterion, share)
