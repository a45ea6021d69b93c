"""What a log shows of work in progress; oracle: the lines themselves."""

import logging

import pytest
import rich
from rich.console import Console

from roberta_squad_pipeline.common import progress as module
from roberta_squad_pipeline.common.progress import progress


def test_lines_in_a_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pauses of 10 s, 15 s, …; the end is always told. Of the first unit only the end is known.
    now = iter([1.0, 12.0, 24.0, 28.0, 29.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(rich, "_console", Console(force_terminal=False))
    with caplog.at_level(logging.INFO), progress("train", 5, "updates") as advance:
        for _ in range(5):
            advance(1, "loss 0.5")
    assert caplog.messages == [
        "train: 2/5 updates, loss 0.5, 33 s left",
        "train: 4/5 updates, loss 0.5, 8 s left",
        "train: 5/5 updates, loss 0.5, 0 s left",
    ]


def test_what_an_earlier_run_did_took_no_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: by hand, 60 of 100 units are taken over, then each takes 2 s."""
    now = iter([0.01 * unit for unit in range(60)] + [2.0 * unit for unit in range(1, 41)])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(rich, "_console", Console(force_terminal=False))
    with caplog.at_level(logging.INFO), progress("train", 100, "updates") as advance:
        for _ in range(100):
            advance(1)
    assert caplog.messages[0] == "train: 66/100 updates, 65 s left"


def test_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, record=True, width=160)
    monkeypatch.setattr(rich, "_console", console)
    with progress("train", 160, "updates") as advance:
        advance(40, "loss 0.5")
    shown = console.export_text()
    assert "train" in shown
    assert "40/160 updates" in shown
    assert "loss 0.5" in shown
    assert "left" in shown
