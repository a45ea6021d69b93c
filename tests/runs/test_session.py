"""What every session's run is wrapped in. Oracle: what the hooks are to be told, by hand.

Sessions through Kedro itself: tests/end_to_end/test_chain.py and test_interruptions.py.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.framework.session import KedroSession
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.hooks import TrackingHooks
from roberta_squad_pipeline.runs.runner import MachineRunner
from roberta_squad_pipeline.runs.session import watch_sessions


class Told(TrackingHooks):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def end_run(self, status: str) -> None:
        self.said.append(status)

    def release(self) -> None:
        self.said.append("released")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Runs what takes the place of Kedro's own method, in a session whose only hooks are given."""

    def watched(
        instead: Callable[[], None], hooks: object, runner: object = None, **params: object
    ) -> Any:
        found = SimpleNamespace()

        def kedros(session: KedroSession, pipeline_name: None = None, runner: Any = None) -> Any:
            found.folder, found.runner = Path.cwd(), runner
            found.params = session.store.get("runtime_params")
            instead()
            return found

        monkeypatch.setattr(KedroSession, "run", kedros)
        watch_sessions()
        watch_sessions()  # as in a notebook that loads the project once more
        session: Any = KedroSession("now", "roberta_squad_pipeline", tmp_path)
        session._hook_manager = SimpleNamespace(get_plugins=lambda: {hooks})
        session._store["runtime_params"] = params
        return session.run(None, runner)

    return watched


def test_hooks_hear_of_the_end_once(run: Callable[..., Any], tmp_path: Path) -> None:
    hooks, before = Told(), Path.cwd()
    found = run(lambda: None, hooks)
    assert hooks.said == ["released"]
    assert found.folder == tmp_path
    assert type(found.runner) is MachineRunner
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("sent", "raised"), [("SIGINT", KeyboardInterrupt), ("SIGTERM", SystemExit)]
)
def test_interrupted_run_ends_as_killed(
    run: Callable[..., Any], sent: str, raised: type[BaseException]
) -> None:
    hooks = Told()
    # Where tests run in a shell's background, it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(raised):
            run(lambda: os.kill(os.getpid(), signal.Signals[sent]), hooks)
    finally:
        signal.signal(signal.SIGINT, before)
    assert hooks.said == ["KILLED", "released"]


def test_run_that_raises_lets_go(run: Callable[..., Any]) -> None:
    hooks = Told()
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0), hooks)
    assert hooks.said == ["released"]  # Kedro has told it of the error


def test_other_projects_sessions_are_left_alone(run: Callable[..., Any]) -> None:
    found = run(lambda: None, object())
    assert (found.folder, found.runner) == (Path.cwd(), None)


def test_files_that_were_given_are_still_found(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "train.json").touch()
    monkeypatch.chdir(folder)
    data = {"train": ["train.json", "s3://bucket/train-*.json"], "dev": "demo_dev"}
    found = run(lambda: None, Told(), data=data, run="mine")
    expected = data | {"train": [str(folder / "train.json"), "s3://bucket/train-*.json"]}
    assert found.params == {"data": expected, "run": "mine"}
    # Where the command is given in the project's folder, they stay as they are.
    monkeypatch.chdir(tmp_path)
    assert run(lambda: None, Told(), data=data).params == {"data": data}


def test_runners(run: Callable[..., Any]) -> None:
    found = run(lambda: None, Told(), SequentialRunner(is_async=True))
    assert type(found.runner) is MachineRunner
    assert found.runner._is_async
    for runner in (ThreadRunner(), ParallelRunner()):
        with pytest.raises(InputError, match=f"runner {type(runner).__name__}: got one that runs"):
            run(lambda: None, Told(), runner)
