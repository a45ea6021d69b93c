"""What tests share: real data where it lies at hand, and tiny encoders made on the fly."""

import json
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from roberta_squad_pipeline.reader.model import ReaderModel
    from roberta_squad_pipeline.squad.config import WindowConfig
    from roberta_squad_pipeline.squad.dataset import SquadDataset
    from roberta_squad_pipeline.squad.features import Features

    Build = Callable[[SquadDataset, Path, WindowConfig], Features]
    BuildBatch = Callable[[SquadDataset, Path, WindowConfig], RecordBatch]

# No test needs the network, and one that asks for a model that isn't there should fail at once.
os.environ["HF_HUB_OFFLINE"] = "1"

# Tests run side by side, on models that gain nothing by more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long one example takes says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

POSITIONS = 64
"""Tokens in the longest window that the tiny encoders take."""

CORPUS = [
    "The Amazon rises in the Andes and flows east into the Atlantic Ocean.",
    "When was the old bridge over the river built? It was built in 1889 by two brothers.",
    "Who wrote the first letter? Where does the road to the harbour begin?",
    "Zoë paid 1,200 francs (about £48) for a café near the naïve painter's house.",
]

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


@pytest.fixture(scope="session")
def encoder_of(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[str], Path]":
    """A two-layer encoder of a family, with random weights and a tokenizer of its own."""
    makers = {
        "roberta": _make_roberta,
        "bert": _make_bert,
        "electra": _make_electra,
        "deberta-v2": _make_deberta_v3,
        "modernbert": _make_modernbert,
        "xlm-roberta": _make_xlm_roberta,
    }
    return cache(lambda model_type: makers[model_type](tmp_path_factory.mktemp(model_type)))


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
    """Eight questions, half of them answerable, on four passages, one of them long."""
    from roberta_squad_pipeline.squad.dataset import Answer, Passage, Question, SquadDataset

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
    passages = []
    for text, questions in asked.items():
        passages.append(
            Passage(
                text,
                "",
                tuple(
                    Question(
                        f"{len(passages)}.{n}",
                        question,
                        (Answer(answer, text.index(answer)),) if answer else (),
                    )
                    for n, (question, answer) in enumerate(questions)
                ),
            )
        )
    return SquadDataset(tuple(passages), misaligned=0)


@pytest.fixture(scope="session")
def window_config() -> "WindowConfig":
    """Windows of the tiny encoders' length, several for the long passage of `tiny_squad`."""
    from roberta_squad_pipeline.squad.config import WindowConfig

    return WindowConfig(max_tokens=POSITIONS, max_question_tokens=20, stride=16)


@pytest.fixture(scope="session")
def build_batch() -> "BuildBatch":
    """Features of a data set, as they are saved, made with the tokenizer of an encoder folder."""
    from roberta_squad_pipeline.reader import tokenization
    from roberta_squad_pipeline.squad.features import build_features

    def build(dataset: "SquadDataset", folder: Path, windows: "WindowConfig") -> "RecordBatch":
        tokenizer = tokenization.load_tokenizer(str(folder))
        return build_features(
            dataset,
            path=Path("train.json"),
            encode_passages=partial(tokenization.encode_passages, tokenizer),
            encode_questions=partial(
                tokenization.encode_questions, tokenizer, max_tokens=windows.max_question_tokens
            ),
            windows=windows,
            tokenizer=tokenization.identity(tokenizer),
            data_sha256="0" * 64,
        )

    return build


@pytest.fixture(scope="session")
def build(build_batch: "BuildBatch") -> "Build":
    """Features of a data set, made with the tokenizer of an encoder folder."""
    from roberta_squad_pipeline.squad.features import Features

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
    config = ModelConfig(encoder=str(encoder_folder), dropout=0.0, attention_dropout=0.0)
    return new_reader(config, max_tokens=POSITIONS, vocabulary=1)


def _make_roberta(folder: Path) -> Path:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=400, min_frequency=1, special_tokens=special, show_progress=False
    )
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizerFast.from_pretrained(folder)
    # As published: one type of token, and positions that count from behind the padding id.
    config = RobertaConfig(
        **_tiny(tokenizer), type_vocab_size=1, max_position_embeddings=POSITIONS + 2
    )
    return _saved(RobertaModel, config, tokenizer, folder)


def _make_bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    tokenizer = _word_piece(folder)
    config = BertConfig(**_tiny(tokenizer), max_position_embeddings=POSITIONS)
    return _saved(BertModel, config, tokenizer, folder)


def _make_electra(folder: Path) -> Path:
    """As published: embeddings narrower than the layers."""
    from transformers import ElectraConfig, ElectraModel

    tokenizer = _word_piece(folder)
    config = ElectraConfig(**_tiny(tokenizer), embedding_size=16, max_position_embeddings=POSITIONS)
    return _saved(ElectraModel, config, tokenizer, folder)


def _make_deberta_v3(folder: Path) -> Path:
    """With version 3's settings: positions are relative alone, and there are no token types."""
    from transformers import DebertaV2Config, DebertaV2Model

    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "unk_piece": "[UNK]"}
    tokenizer = _sentence_piece(folder, "deberta-v2", "spm.model", **pieces, **ids)
    config = DebertaV2Config(
        **_tiny(tokenizer),
        max_position_embeddings=POSITIONS,
        relative_attention=True,
        position_buckets=16,
        pos_att_type="p2c|c2p",
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        max_relative_positions=-1,
        layer_norm_eps=1e-7,
        type_vocab_size=0,
    )
    return _saved(DebertaV2Model, config, tokenizer, folder)


def _make_modernbert(folder: Path) -> Path:
    """Its second layer sees no further than eight tokens to either side."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

    special = {name: f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(special.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, **{f"{name}_token": token for name, token in special.items()}
    )
    ids = {
        "bos_token_id": tokenizer.cls_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    config = ModernBertConfig(
        **_tiny(tokenizer), **ids, max_position_embeddings=POSITIONS, local_attention=16
    )
    return _saved(ModernBertModel, config, tokenizer, folder)


def _make_xlm_roberta(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    tokenizer = _sentence_piece(folder, "xlm-roberta", "sentencepiece.bpe.model")
    config = XLMRobertaConfig(
        **_tiny(tokenizer), type_vocab_size=1, max_position_embeddings=POSITIONS + 2
    )
    return _saved(XLMRobertaModel, config, tokenizer, folder)


def _word_piece(folder: Path) -> "PreTrainedTokenizerFast":
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=200, min_frequency=1, show_progress=False)
    trained.save_model(str(folder))
    return BertTokenizerFast.from_pretrained(folder)


def _sentence_piece(
    folder: Path, model_type: str, file_name: str, **pieces: object
) -> "PreTrainedTokenizerFast":
    """In the form in which it is published: SentencePiece's own file, and no tokenizer.json."""
    from sentencepiece import SentencePieceTrainer
    from transformers import AutoTokenizer

    with (folder / file_name).open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS * 4),
            model_writer=file,
            vocab_size=120,
            hard_vocab_limit=False,
            minloglevel=2,
            **pieces,
        )
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return AutoTokenizer.from_pretrained(folder)


def _tiny(tokenizer: "PreTrainedTokenizerFast") -> dict[str, float]:
    # Weights wider than usual, so that an encoder with random ones tells tokens apart.
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "initializer_range": 0.2,
    }


def _saved(
    kind: "type[PreTrainedModel]",
    config: object,
    tokenizer: "PreTrainedTokenizerFast",
    folder: Path,
) -> Path:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
