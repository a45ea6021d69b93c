"""Workers as forks of their launcher, which has imported what they need.

Most of a tiny job's time goes into its workers' imports. Apart from these a fork is a process like
any other, with a group, signals and an exit code of its own. How workers start when nothing is
imported is shown by `end_to_end/test_machines.py`.
"""

import gc
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler import (
    SubprocessHandler,
)

FORK = multiprocessing.get_context("fork")

STARTED: list[Any] = []
"""This process's workers, dead or alive."""


class ForkedWorker:
    """What of `subprocess.Popen` torch's launcher uses."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        # After the interpreter, its option, -m and the module that starts workers.
        module, *told = command[4:]
        self._process = FORK.Process(target=become_worker, args=(module, told, env))
        self._process.start()
        self.pid = int(self._process.pid or 0)
        # In both processes, so that it is so whichever comes first.
        with suppress(OSError):
            os.setpgid(self.pid, self.pid)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = float("inf")) -> int:
        # Of `join` with a timeout: the worker has closed the pipe by which it would know.
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.01)
        return code


def become_worker(module: str, told: list[str], env: dict[str, str]) -> None:
    """Leaves behind what a process that was started anew would not have, and runs the module."""
    with suppress(OSError):
        os.setpgid(0, 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2)
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    os.environ.clear()
    os.environ.update(env)
    gc.freeze()
    sys.modules.pop(module, None)
    sys.argv = [module, *told]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def fork_workers(patch: Callable[[object, str, object], None]) -> None:
    """Makes torch's launcher fork its workers; with CUDA, which no fork can use, only lists them.

    Args:
        patch: `setattr`, or pytest's, which takes it back.
    """
    usual = SubprocessHandler._popen

    def start(handler: Any, command: Sequence[str], env: dict[str, str]) -> Any:
        cuda = torch.cuda.is_available()
        STARTED.append(usual(handler, command, env) if cuda else ForkedWorker(command, env))
        return STARTED[-1]

    patch(SubprocessHandler, "_popen", start)
