"""A Kedro session that also ends its tracked run when it is interrupted."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner

from roberta_squad_pipeline.runs.hooks import TrackingHooks
from roberta_squad_pipeline.runs.runner import MachineRunner


class InterruptibleSession(KedroSession):
    """Tells hooks how a run ended also where Kedro itself tells them nothing, as of Ctrl-C."""

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Runs pipelines like `KedroSession.run`; a run that is interrupted ends as KILLED."""
        runner = kwargs.get("runner")
        if runner is None or type(runner) is SequentialRunner:
            kwargs["runner"] = MachineRunner()
        try:
            with _sigterm_as_exit():
                outputs: dict[str, Any] = super().run(*args, **kwargs)
                return outputs
        except (KeyboardInterrupt, SystemExit):
            for hooks in self._own_hooks():
                hooks.end_run("KILLED")
            raise
        finally:
            for hooks in self._own_hooks():
                hooks.release()

    def _own_hooks(self) -> list[TrackingHooks]:
        plugins = self._hook_manager.get_plugins()
        return [plugin for plugin in plugins if isinstance(plugin, TrackingHooks)]


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    # Python dies of SIGTERM without unwinding, and only the main thread may set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _exit(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)
