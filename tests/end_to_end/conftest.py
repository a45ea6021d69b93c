"""Projects to run in: the real conf and code, the outputs in a temporary folder."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

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


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "KEDRO_"))}
    # Tiny models gain nothing by more threads, and tests run side by side.
    return kept | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def listen_to_ctrl_c() -> None:
    # A shell that starts the tests in the background has them, and theirs, ignore it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_command(pipelines: str, params: dict[str, Any], env: str = "base") -> list[str]:
    given = ",".join(f"{name}={value}" for name, value in params.items())
    return [
        *(sys.executable, "-m", "kedro", "run", "--env", env),
        *(("--pipelines", pipelines) if pipelines else ()),
        *(("--params", given) if given else ()),
    ]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes longer than a tiny run."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def make_project(folder: Path, database: Path) -> Path:
    for name in ("pyproject.toml", "conf", ".telemetry"):
        (folder / name).symlink_to(ROOT / name)
    # Kedro wants a source folder inside the project; the package itself is installed.
    (folder / "src").mkdir()
    encoder = folder / "data/01_raw/demo_encoder"
    encoder.parent.mkdir(parents=True)
    encoder.symlink_to(ROOT / "data/01_raw/demo_encoder")
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
def finished(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A project in which the whole chain was run once; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("finished"), database)
    done = run_kedro(folder, "", TINY)
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stdout + done.stderr
    return folder


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """A project in which the whole chain was run once."""
    shutil.copytree(finished, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path


def run_kedro(
    project: Path, pipelines: str, params: dict[str, Any], **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        run_command(pipelines, params),
        cwd=project,
        env=environment() | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


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
def kedro(tmp_path: Path) -> Kedro:
    """Runs pipelines in the test's project as a user would."""

    def run(
        pipelines: str = "", params: dict[str, Any] | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return run_kedro(tmp_path, pipelines, TINY | (params or {}), **variables)

    return run


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts pipelines in the background; they are gone when the test ends."""
    processes = []

    def run(
        params: dict[str, Any],
        pipelines: str = "",
        *,
        folder: Path = project,
        host: tuple[str, ...] = (),
        uri: str | None = None,
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*host, *run_command(pipelines, TINY | params)],
            cwd=folder,
            env=environment() | ({"MLFLOW_TRACKING_URI": uri} if uri else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=listen_to_ctrl_c,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


def search_runs(project: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[Run]]:
    """Lists the MLflow runs of the test's project, newest first."""
    return lambda: search_runs(tmp_path)
