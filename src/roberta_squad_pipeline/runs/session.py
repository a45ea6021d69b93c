"""Rules for every Kedro session, whether of a command, a notebook, a script or Airflow."""

import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.hooks import TrackingHooks
from roberta_squad_pipeline.runs.parameters import absolute_paths
from roberta_squad_pipeline.runs.runner import MachineRunner


def watch_sessions() -> None:
    """Makes each session of this project run in its folder, and tell its hooks how the run ended.

    Kedro does not tell hooks of Ctrl-C. `KedroSession.create`, which scripts and Airflow call, uses
    no setting for the class, so a method of Kedro's class is replaced.
    """
    # Replaced only once, even if a notebook loads this project again.
    KedroSession.run = _watched(inspect.unwrap(KedroSession.run))  # type: ignore[method-assign]


def _watched(run: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    signature = inspect.signature(run)

    @wraps(run)
    def watched(session: KedroSession, *args: Any, **kwargs: Any) -> dict[str, Any]:
        plugins = session._hook_manager.get_plugins()
        own = [plugin for plugin in plugins if isinstance(plugin, TrackingHooks)]
        if not own:  # another project's, in the same process
            return run(session, *args, **kwargs)
        given = signature.bind(session, *args, **kwargs)
        given.arguments["runner"] = _runner(given.arguments.get("runner") or SequentialRunner())
        params = session.store.get("runtime_params") or {}
        try:
            with _sigterm_as_exit(), in_project(session._project_path, params) as params:
                session._store["runtime_params"] = params
                return run(*given.args, **given.kwargs)
        except (KeyboardInterrupt, SystemExit):
            for hooks in own:
                hooks.end_run("KILLED")
            raise
        finally:
            for hooks in own:
                hooks.release()

    return watched


@contextmanager
def in_project(project: Path, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Changes to the project's folder while the block runs, since paths in conf/ start there.

    Args:
        project: The project's folder.
        params: Parameters besides conf/.

    Yields:
        The parameters, with paths that are relative to the former folder made absolute.
    """
    if project != Path.cwd():
        params = absolute_paths(params, Path.cwd())
    with chdir(project):
        yield params


def _runner(runner: Any) -> SequentialRunner:
    if type(runner) is SequentialRunner:
        return MachineRunner(is_async=runner._is_async)
    if isinstance(runner, SequentialRunner):
        return runner
    name = type(runner).__name__
    raise InputError(
        where=f"runner {name}",
        got="one that runs nodes in parallel",
        expected="Kedro's sequential runner, since each step needs the one before it",
        remedy="Leave --runner out: training and inference use several processes without it "
        "(distributed.processes).",
    )


def run_pipeline(
    project: Path, env: str | None, params: dict[str, Any], *names: str, **options: Any
) -> None:
    """Runs pipelines in a session of their own.

    Args:
        project: The project's folder.
        env: Kedro's environment.
        params: As given on the command line.
        names: The pipelines; the default one if there are none.
        options: Further arguments of `KedroSession.run`.

    Raises:
        InputError: The run is refused.
    """
    with settings.SESSION_CLASS.create(project, env=env, runtime_params=params) as session:
        session.run(pipeline_names=list(names) or None, **options)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    # SIGTERM ends Python without unwinding; only the main thread may set handlers.
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
