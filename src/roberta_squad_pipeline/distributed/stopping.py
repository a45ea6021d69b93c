"""Ctrl-C and SIGTERM as requests that are met at the next good moment."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_logger = logging.getLogger(__name__)


class StopRequest:
    """A request to stop the work, if there is one."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.signal: signal.Signals | None = None
        """The signal that came; None as long as none has."""

    @property
    def made(self) -> bool:
        """Whether a signal came, or the launcher has left its file."""
        return self.signal is not None or (self._file is not None and self._file.exists())

    def obey(self) -> None:
        """Ends the program as the signal would have done.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was SIGTERM.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def stop_requests(file: Path | None = None, *, say: str = "") -> Iterator[StopRequest]:
    """Takes SIGINT and SIGTERM as requests while the block runs.

    A second signal is obeyed at once.

    Args:
        file: A file whose existence is a request, too: so a launcher reaches its workers.
        say: What is logged at the first signal.
    """
    request = StopRequest(file)

    def handle(number: int, frame: FrameType | None) -> None:
        if request.signal is not None:
            request.obey()
        request.signal = signal.Signals(number)
        if say:
            _logger.warning(say)

    # Only the main thread may set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
