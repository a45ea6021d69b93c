"""Projects to run in: the real conf and code, the outputs in a temporary folder."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, entities
from omegaconf import OmegaConf

from roberta_squad_pipeline.demo import PACKAGED_ENCODER

ROOT = Path(__file__).parents[2]

TINY = {
    "data.sources.demo_train.passages": 12,
    "data.sources.demo_dev.passages": 6,
    "training.updates": 4,
    "training.warmup_updates": 1,
    "training.batch_size": 8,
}
"""Seconds instead of minutes: what it learns does not matter."""

Kedro = Callable[..., subprocess.CompletedProcess[str]]
Command = Callable[..., subprocess.CompletedProcess[str]]
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


class Run:
    """A run that `warm_kedro.py` has forked, with what of `subprocess.Popen` tests use."""

    def __init__(self, connection: socket.socket, stdout: Path, stderr: Path) -> None:
        self._connection = connection
        self._outputs = (stdout, stderr)
        self.pid = self._receive()
        self.returncode: int | None = None

    def _receive(self) -> int:
        return int(self._connection.recv(10, socket.MSG_WAITALL))

    def poll(self) -> int | None:
        try:
            return self.wait(timeout=0)
        except TimeoutError:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            # A timeout of 0 raises BlockingIOError where there is nothing yet.
            self._connection.settimeout(timeout)
            try:
                self.returncode = self._receive()
            except BlockingIOError as error:
                raise TimeoutError from error
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        try:
            self.wait(timeout)
        except TimeoutError as error:
            raise AssertionError(f"it still runs, after {timeout} s: {self.said()}") from error
        return self._outputs[0].read_text(encoding="utf-8"), self._outputs[1].read_text(
            encoding="utf-8"
        )

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def said(self) -> str:
        """So far, on stdout, with line breaks and indents as single spaces."""
        return " ".join(self._outputs[0].read_text(encoding="utf-8").split())


Fork = Callable[..., Run]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "KEDRO_"))}
    # Tiny models gain nothing by more threads, and tests run side by side.
    return kept | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def warm_kedro(made_once: MadeOnce) -> Iterator[Path]:
    """The folder with the socket of `warm_kedro.py`, of which all of pytest's processes fork.

    It ends when the last of them has closed its end of a pipe.
    """

    def make(folder: Path) -> None:
        # The path of a socket must not be long.
        served = Path(tempfile.mkdtemp())
        os.mkfifo(served / "pipe")
        reader = os.open(served / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(served / "pipe", os.O_WRONLY)
        os.set_blocking(reader, True)
        server = subprocess.Popen(
            [sys.executable, ROOT / "tests/warm_kedro.py", served / "socket"],
            cwd=ROOT,
            env=environment(),
            stdin=reader,
        )
        os.close(reader)
        deadline = time.monotonic() + 300
        while not (served / "socket").exists():
            assert server.poll() is None, "warm_kedro.py does not start"
            assert time.monotonic() < deadline, "warm_kedro.py is not ready"
            time.sleep(0.05)
        open_ends.append(writer)
        (folder / "served").write_text(str(served), encoding="utf-8")

    open_ends: list[int] = []
    served = Path((made_once("warm_kedro", make) / "served").read_text(encoding="utf-8"))
    open_ends.append(os.open(served / "pipe", os.O_WRONLY))
    yield served
    for end in open_ends:
        os.close(end)


@pytest.fixture(scope="session")
def fork(tmp_path_factory: pytest.TempPathFactory, warm_kedro: Path) -> Fork:
    """Starts Kedro, or a script, in a process of its own, without the seconds that imports take."""

    def start(
        argv: Sequence[str],
        cwd: Path,
        *,
        program: str | Path = "kedro",
        separate_stderr: bool = True,
        network: str | None = None,
        **variables: str,
    ) -> Run:
        said = tmp_path_factory.mktemp("said")
        outputs = (said / "stdout", said / ("stderr" if separate_stderr else "stdout"))
        request = {
            "argv": [str(program), *map(str, argv)],
            "cwd": str(cwd),
            "env": environment() | variables,
            "stdout": str(outputs[0]),
            "stderr": str(outputs[1]),
            "network": network,
        }
        (said / "request.json").write_text(json.dumps(request), encoding="utf-8")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(warm_kedro / "socket"))
        connection.send(str(said / "request.json").encode())
        return Run(connection, *outputs)

    return start


def run_command(pipelines: str, params: dict[str, Any], env: str = "base") -> list[str]:
    given = ",".join(f"{name}={value}" for name, value in params.items())
    return [
        *("run", "--env", env),
        *(("--pipelines", pipelines) if pipelines else ()),
        *(("--params", given) if given else ()),
    ]


@pytest.fixture(scope="session")
def tiny() -> Any:
    """`TINY` as it is given to a session."""
    given = OmegaConf.create()
    for name, value in TINY.items():
        OmegaConf.update(given, name, value)
    return OmegaConf.to_container(given)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Makes folders that all of pytest's processes share."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def database(made_once: MadeOnce) -> Path:
    """An MLflow database without runs: making one takes longer than a tiny run."""

    def make(folder: Path) -> None:
        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return made_once("database", make) / "mlflow.db"


def make_project(folder: Path, database: Path) -> Path:
    for name in ("pyproject.toml", "conf", ".telemetry"):
        (folder / name).symlink_to(ROOT / name)
    # Kedro wants a source folder inside the project; the package itself is installed.
    (folder / "src").mkdir()
    encoder = folder / "data/01_raw/demo_encoder"
    encoder.parent.mkdir(parents=True)
    encoder.symlink_to(PACKAGED_ENCODER)
    shutil.copy(database, folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, database: Path) -> Path:
    """A project in which nothing was run yet."""
    return make_project(tmp_path, database)


@pytest.fixture
def other_machine(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A project on a machine that has neither data nor encoder."""
    folder = make_project(tmp_path_factory.mktemp("machine"), database)
    shutil.rmtree(folder / "data")
    return folder


@pytest.fixture(scope="session")
def new_project(database: Path) -> Callable[[Path], Path]:
    """Makes a project in which nothing was run yet of an empty folder."""
    return lambda folder: make_project(folder, database)


@pytest.fixture(scope="session")
def run_cold() -> Command:
    """Runs the whole chain in a project as a user does, with nothing imported before."""

    def run(
        project: Path, params: dict[str, Any], env: str = "base", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kedro", *run_command("", TINY | params, env)],
            cwd=project,
            env=environment() | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def chain_run(made_once: MadeOnce, database: Path, fork: Fork) -> Callable[..., Path]:
    """Makes projects in which the whole chain was run once, with what it said in said.txt."""

    def made(name: str, params: dict[str, Any]) -> Path:
        def make(folder: Path) -> None:
            make_project(folder, database)
            run = fork(run_command("", TINY | params), folder, separate_stderr=False)
            said = run.communicate(timeout=300)[0]
            assert run.returncode == 0, said
            (folder / "said.txt").write_text(said, encoding="utf-8")

        return made_once(name, make)

    return made


@pytest.fixture(scope="session")
def finished(chain_run: Callable[..., Path]) -> Path:
    """A project in which the whole chain was run once; not to be changed."""
    return chain_run("finished", {})


@pytest.fixture(scope="session")
def finished_by_two(chain_run: Callable[..., Path]) -> Path:
    """The same by two processes; not to be changed."""
    return chain_run("by_two", {"distributed.processes": 2, "inference.batch_windows": 4})


@pytest.fixture(scope="session")
def finished_with_validation(chain_run: Callable[..., Path]) -> Path:
    """The same, scored on the dev questions while it was trained; not to be changed."""
    return chain_run("validated", {"training.evaluate_every": 2, "training.patience": 5})


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """A project in which the whole chain was run once."""
    shutil.copytree(finished, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="session")
def random_roberta(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small RoBERTa with random weights on RoBERTa's real tokenizer."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    folder = tmp_path_factory.mktemp("random_roberta")
    tokenizer = AutoTokenizer.from_pretrained(shared / "roberta-tokenizer")
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def command(fork: Fork, tmp_path: Path) -> Command:
    """Runs a Kedro command in the test's project."""

    def run(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = fork(argv, tmp_path, **variables)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(argv, process.wait(), stdout, stderr)

    return run


@pytest.fixture
def kedro(command: Command) -> Kedro:
    """Runs pipelines in the test's project."""

    def run(
        pipelines: str = "", params: dict[str, Any] | None = None, nodes: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        named = ("--nodes", nodes) if nodes else ()
        return command(*run_command(pipelines, TINY | (params or {})), *named, **variables)

    return run


@pytest.fixture
def start_on() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts what machines share as a user does, with nothing imported before."""
    processes = []

    def run(network: str | None, folder: Path, params: dict[str, Any]) -> subprocess.Popen[str]:
        there = ("ip", "netns", "exec", network) if network else ()
        command = run_command("train,inference", TINY | params)
        process = subprocess.Popen(
            [*there, sys.executable, "-m", "kedro", *command],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def start(fork: Fork, project: Path) -> Iterator[Callable[..., Run]]:
    """Starts pipelines in the background (see `fork`); they are gone when the test ends."""
    runs = []

    def run(
        params: dict[str, Any], pipelines: str = "", env: str = "base", **options: str | None
    ) -> Run:
        command = run_command(pipelines, TINY | params, env)
        runs.append(fork(command, project, separate_stderr=False, **options))
        return runs[-1]

    yield run
    for process in runs:
        process.kill()
        process.wait()


def search_runs(project: Path) -> list[entities.Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    # A search does not return which models a run used.
    return [client.get_run(found.info.run_id) for found in client.search_runs(experiments)]


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., list[entities.Run]]:
    """Lists the MLflow runs of the test's project, or of another folder, newest first."""
    return lambda folder=tmp_path: search_runs(folder)
