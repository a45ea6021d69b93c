"""What tests share: real data where it lies at hand, and a tiny data set with its features."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tiny_encoders import MAKERS, POSITIONS

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from selenium.webdriver import Chrome

    from roberta_squad_pipeline.features.config import WindowConfig
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.reader.model import ReaderModel
    from roberta_squad_pipeline.reader.storage import TrainedReader
    from roberta_squad_pipeline.squad.dataset import SquadDataset

    Build = Callable[[SquadDataset, Path, WindowConfig], Features]
    BuildBatch = Callable[[SquadDataset, Path, WindowConfig], RecordBatch]

# No test needs the network, and one that asks for a model that isn't there should fail at once.
os.environ["HF_HUB_OFFLINE"] = "1"

# Tests run side by side, on models that gain nothing by more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long one example takes says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

START_PROCESSES = {"end_to_end", "test_job.py"}
"""Folders and files of tests that take seconds each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no core is idle at the end."""
    items.sort(key=lambda item: START_PROCESSES.isdisjoint(item.path.parts))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real SQuAD questions, RoBERTa's own tokenizer and the official scorer's answers."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the SQuAD samples and RoBERTa's tokenizer are not there")
    return folder


@pytest.fixture(scope="module")
def chrome() -> "Iterator[Chrome]":
    """A browser without a network."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no Chromium with its driver")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ChromeOptions()
        options.binary_location = chromium
        for switch in (
            *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
            *("disable-background-networking", "disable-component-update", "disable-sync"),
            *("window-size=1280,900", f"user-data-dir={folder}"),
        ):
            options.add_argument(f"--{switch}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = Chrome(options=options, service=ChromeService(driver))
        yield browser
        browser.quit()


@pytest.fixture(scope="session")
def encoder_of(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[str], Path]":
    """A two-layer encoder of a family, with random weights and a tokenizer of its own."""
    return cache(lambda model_type: MAKERS[model_type](tmp_path_factory.mktemp(model_type)))


@pytest.fixture(scope="session")
def roberta_folder(encoder_of: "Callable[[str], Path]") -> Path:
    """A two-layer RoBERTa with random weights and a byte-level BPE of its own."""
    return encoder_of("roberta")


@pytest.fixture(scope="session")
def bert_folder(encoder_of: "Callable[[str], Path]") -> Path:
    """A two-layer BERT with random weights and a WordPiece vocabulary of its own."""
    return encoder_of("bert")


@pytest.fixture(scope="session", params=["roberta", "bert"])
def encoder_folder(request: pytest.FixtureRequest) -> Path:
    """Each of the tiny encoders in turn."""
    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    return folder


@pytest.fixture(
    scope="session",
    params=["roberta", "bert", "electra", "deberta-v2", "modernbert", "xlm-roberta"],
)
def family_folder(request: pytest.FixtureRequest, encoder_of: "Callable[[str], Path]") -> Path:
    """A tiny encoder of each family in turn."""
    return encoder_of(request.param)


@pytest.fixture(scope="session")
def tiny_squad() -> "SquadDataset":
    """Eight questions, half of them answerable, on four passages, one of them long.

    Two of the unanswerable ones have plausible answers.
    """
    from roberta_squad_pipeline.squad.dataset import (
        GoldAnswer,
        Passage,
        Question,
        SquadDataset,
    )

    river = (
        "The Amazon rises in the Andes, in the south of Peru. It flows east for 6,400 km "
        "through Iquitos, Manaus and Santarém, takes up more than a thousand smaller rivers "
        "on its way, and ends near Belém in the Atlantic Ocean."
    )
    bridge = "The old bridge was built in 1889 by two brothers."
    asked = {
        river: [
            ("Where does it rise?", "the Andes"),
            ("Where does it end?", "the Atlantic Ocean"),
            ("Who was first to see it?", None),
        ],
        bridge: [("When was it built?", "1889"), ("Who painted it?", None)],
        "Zoë 😀 paid £48 for the 東京 café.": [("What did Zoë pay?", "£48"), ("When?", None)],
        "Nobody knows.": [("Who wrote the first letter to the harbour?", None)],
    }
    plausible = {"Who was first to see it?": "Peru", "Who painted it?": "two brothers"}
    passages = []

    def seeming(question: str, text: str) -> GoldAnswer | None:
        found = plausible.get(question)
        return GoldAnswer(found, text.index(found)) if found else None

    for text, questions in asked.items():
        passages.append(
            Passage(
                text,
                "",
                tuple(
                    Question(
                        f"{len(passages)}.{n}",
                        question,
                        (GoldAnswer(answer, text.index(answer)),) if answer else (),
                        seeming(question, text),
                    )
                    for n, (question, answer) in enumerate(questions)
                ),
            )
        )
    return SquadDataset(tuple(passages))


@pytest.fixture(scope="session")
def window_config() -> "WindowConfig":
    """Windows of the tiny encoders' length, several for the long passage of `tiny_squad`."""
    from roberta_squad_pipeline.features.config import WindowConfig

    return WindowConfig(
        order="passage_first", max_tokens=POSITIONS, max_question_tokens=20, stride=16
    )


@pytest.fixture(scope="session")
def build_batch() -> "BuildBatch":
    """Features of a data set, as they are saved, made with the tokenizer of an encoder folder."""
    from roberta_squad_pipeline.features.build import build_features
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

    def build(dataset: "SquadDataset", folder: Path, windows: "WindowConfig") -> "RecordBatch":
        return build_features(
            dataset.passages,
            tokenizer=PassageTokenizer.load(str(folder)),
            windows=windows,
            source="train.json",
            data_sha256="0" * 64,
        )

    return build


@pytest.fixture(scope="session")
def build(build_batch: "BuildBatch") -> "Build":
    """Features of a data set, made with the tokenizer of an encoder folder."""
    from roberta_squad_pipeline.features.file import Features

    return lambda *args: Features.from_batch(build_batch(*args))


@pytest.fixture(scope="session")
def tiny_batch(
    build_batch: "BuildBatch",
    tiny_squad: "SquadDataset",
    roberta_folder: Path,
    window_config: "WindowConfig",
) -> "RecordBatch":
    """Features of `tiny_squad` for the tiny RoBERTa, as they are saved."""
    return build_batch(tiny_squad, roberta_folder, window_config)


@pytest.fixture(scope="session")
def tiny_features(
    build: "Build", tiny_squad: "SquadDataset", encoder_folder: Path, window_config: "WindowConfig"
) -> "Features":
    """Features of `tiny_squad` for each of the tiny encoders."""
    return build(tiny_squad, encoder_folder, window_config)


@pytest.fixture(scope="session")
def family_features(
    build: "Build", tiny_squad: "SquadDataset", family_folder: Path, window_config: "WindowConfig"
) -> "Features":
    """Features of `tiny_squad` for a tiny encoder of each family."""
    return build(tiny_squad, family_folder, window_config)


@pytest.fixture
def free_port() -> int:
    """A port of this machine on which nothing listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tiny models, on which several threads spend their time waiting for each other."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture
def tiny_reader(encoder_folder: Path) -> "ReaderModel":
    """A reader on a tiny encoder, without dropout."""
    import torch

    from roberta_squad_pipeline.reader.config import ModelConfig
    from roberta_squad_pipeline.reader.model import new_reader

    torch.manual_seed(2)
    config = ModelConfig(
        start=None,
        encoder=str(encoder_folder),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )
    return new_reader(config, max_tokens=POSITIONS, vocabulary=1)


@pytest.fixture
def evaluated(
    tiny_reader: "ReaderModel", tiny_features: "Features", encoder_folder: Path
) -> "TrainedReader":
    """A reader with an evaluation whose threshold lies among its own scores."""
    from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED, PlattScale
    from roberta_squad_pipeline.evaluation.no_answer import HEAD_ALONE
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
    from roberta_squad_pipeline.reader.config import InferenceConfig
    from roberta_squad_pipeline.reader.evaluation import Evaluation
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader

    inference = InferenceConfig(
        batch_windows=3, precision="fp32", max_answer_tokens=6, n_best=5, null_score="min_window"
    )
    header = ReaderHeader(
        tokenizer=tiny_features.meta.tokenizer,
        windows=tiny_features.meta.windows,
        inference=inference.model_copy(update={"max_answer_tokens": 1}),
        dropout=0.125,
        answerability_input="first_token",
        recipe={"model": {"encoder": "tiny"}, "training": {"lr": 3e-5}},
    )
    calibration = UNCALIBRATED.model_copy(
        update={
            "threshold": -0.1,
            "no_answer": PlattScale(slope=0.5, intercept=0.25),
            "uncalibrated": None,
        }
    )
    evaluation = Evaluation(
        version="0.1.0",
        data="data/01_raw/dev.json",
        data_sha256="0" * 64,
        questions=8,
        inference=inference,
        scores={"exact": 25.0, "f1": 37.5, "total": 8, "best_f1": 50.0, "best_f1_thresh": -0.1},
        cross_fitted_f1=None,
        no_answer_weights=HEAD_ALONE,
        calibration=calibration,
    )
    tokenizer = PassageTokenizer.load(str(encoder_folder))
    return TrainedReader(tiny_reader, tokenizer, header, evaluation=evaluation)
