"""Wishes to stop.

Oracle: real signals to this process.
"""

import os
import signal
import threading
from pathlib import Path

import pytest

from roberta_squad_pipeline.distributed.stopping import stop_requests

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def usual_handlers() -> None:
    """A shell that starts tests in the background has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("sent", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_first_signal_is_a_wish_and_the_second_an_order(
    sent: signal.Signals, ends: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_requests(say="stopping soon") as stop:
        assert not stop.made
        stop.obey()
        os.kill(os.getpid(), sent)
        assert stop.made
        assert stop.signal == sent
        assert caplog.messages == ["stopping soon"]
        with pytest.raises(ends) as caught:
            os.kill(os.getpid(), sent)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    if sent == signal.SIGTERM:
        assert caught.value.code == 128 + signal.SIGTERM
    with pytest.raises(ends):
        stop.obey()


def test_handlers_are_restored_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), stop_requests():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_launcher_s_file_is_a_wish(tmp_path: Path) -> None:
    with stop_requests(tmp_path / "stop") as stop:
        assert not stop.made
        (tmp_path / "stop").touch()
        assert stop.made
        stop.obey()


def test_other_threads_set_no_handlers() -> None:
    seen = []

    def work() -> None:
        with stop_requests() as stop:
            seen.append((stop.made, [signal.getsignal(number) for number in SIGNALS]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, [signal.getsignal(number) for number in SIGNALS])]
