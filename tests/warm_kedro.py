"""A process that has imported all that a run needs; every run is a fork of it.

Most of a tiny run's time goes into imports. Apart from these a fork is a process like any other,
with an exit code, signals and output of its own. Its workers are forks in turn.

    python warm_kedro.py SOCKET

On each connection it is told the path of a JSON file, {"argv": ["kedro", "run", …], "cwd": …,
"env": …, "stdout": …, "stderr": …, "network": …}: paths for both outputs, and null or the name of a
network namespace; `argv` begins with a module or the path of a script. It answers with the run's
process id, and at the run's end with its exit code, ten characters each. It ends when its standard
input is closed, and takes the folder of the socket with it.
"""

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

from forked_workers import fork_workers

# Kedro comes first, as in a usual run: it sets up logging before the others are imported.
IMPORTED = [
    "kedro.framework.cli.cli",
    "kedro.framework.session",
    "kedro_datasets.json",
    "roberta_squad_pipeline.cli",
    "roberta_squad_pipeline.settings",
    "roberta_squad_pipeline.pipeline_registry",
    "roberta_squad_pipeline.datasets",
    "roberta_squad_pipeline.features.file",
    "roberta_squad_pipeline.reader.storage",
    "roberta_squad_pipeline.tracking.mlflow_run",
    "mlflow.store.tracking.sqlalchemy_store",
    "roberta_squad_pipeline.demo.generator",
    "roberta_squad_pipeline.runs.comparison",
    "roberta_squad_pipeline.runs.experiment_table",
    "roberta_squad_pipeline.reader.evaluation",
    "roberta_squad_pipeline.evaluation.report.figures",
    "roberta_squad_pipeline.evaluation.report.page",
    "roberta_squad_pipeline.evaluation.questions",
    "roberta_squad_pipeline.evaluation.uncertainty",
    "pandas",
    "plotly.express",
    "plotly.graph_objects",
    "plotly.offline",
    "roberta_squad_pipeline.training.job",
    "roberta_squad_pipeline.training.resume",
    "roberta_squad_pipeline.inference.job",
    "roberta_squad_pipeline.training.worker",
    "roberta_squad_pipeline.inference.worker",
    "roberta_squad_pipeline.runs.finished",
    "roberta_squad_pipeline.training.resolution",
    "roberta_squad_pipeline.validation.check",
    "roberta_squad_pipeline.reader.exchange.pretrained",
    "kedro_datasets.pandas.csv_dataset",
    "kedro_datasets.pandas.parquet_dataset",
    "kedro_datasets.plotly.json_dataset",
    "kedro_datasets.text.text_dataset",
    "kedro_telemetry.plugin",
    "kedro_viz.integrations.kedro.hooks",
    "kedro_viz.integrations.kedro.run_hooks",
    "kedro_viz.launchers.cli.main",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "pathspec",
    "pyarrow.dataset",
    "transformers.models.bert.modeling_bert",
    "transformers.models.roberta.modeling_roberta",
    "transformers.models.roberta.tokenization_roberta",
]


def import_as_used() -> None:
    """Does what imports much, or looks through the files of all installed packages, when used."""
    from mlflow.utils.requirements_utils import _init_modules_to_packages_map
    from plotly.graph_objects import Bar, Figure, Histogram, Table

    from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED
    from roberta_squad_pipeline.evaluation.report.figures import calibration_figure

    figure = calibration_figure(UNCALIBRATED).add_traces([Bar(), Histogram(), Table()])
    Figure(figure.to_dict())
    _init_modules_to_packages_map()  # which MLflow asks for with each model


def calling_files() -> list[SimpleNamespace]:
    """The files of all callers, the innermost first."""
    frame = inspect.currentframe()
    files = []
    while frame := frame and frame.f_back:
        files.append(SimpleNamespace(filename=frame.f_code.co_filename))
    return files


def wait_for_run(path: str) -> list[str]:
    """Serves for ever; comes back in the forks, with what each is to run."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
                shutil.rmtree(Path(path).parent)
                raise SystemExit
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return become_run(connection)


def become_run(connection: socket.socket) -> list[str]:
    """Comes back in a process of its own, whose end the one between is there to tell."""
    request = json.loads(Path(connection.recv(4096).decode()).read_text(encoding="utf-8"))
    pid = os.fork()
    if pid:
        connection.send(f"{pid:10}".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.send(f"{code:10}".encode())
        os._exit(0)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if request["network"]:
        enter_network(request["network"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Of `python -m` the first entry is the folder it was started in.
    sys.path[0] = request["cwd"]
    argv: list[str] = request["argv"]
    return argv


def enter_network(name: str) -> None:
    """Moves this process into a network namespace of `ip netns` (Python 3.12 has os.setns)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", name).open() as namespace:
        if libc.setns(namespace.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"setns {name}")


def run(argv: list[str]) -> None:
    """Runs a module or a script, and ends without taking apart all that was imported.

    That would take longer than most runs. All else is as at any process's end: threads are waited
    for, exit functions called and outputs flushed.
    """
    sys.argv = argv
    try:
        if argv[0].endswith(".py"):
            runpy.run_path(argv[0], run_name="__main__")
        else:
            runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise  # a message, which Python prints
        code = end.code or 0
    else:
        code = 0
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    import_as_used()
    fork_workers(setattr)
    # Of `inspect.stack` the settings' loader needs the files alone. It would look through all
    # modules for each of them, and these are many more than in a process that begins.
    for module in ("dynaconf.utils.files", "dynaconf.loaders.py_loader"):
        importlib.import_module(module).inspect = SimpleNamespace(stack=calling_files)
    # The forks' garbage collector need not look through what all of them share.
    gc.freeze()
    run(wait_for_run(sys.argv[1]))
