"""Readers that training goes on from.

Oracle: the weights of the reader that was saved, and transformers' question-answering models.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    GPT2Config,
    GPT2Model,
)

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.exchange.pretrained import save_pretrained
from roberta_squad_pipeline.reader.source import hub_folder, source_tokenizer
from roberta_squad_pipeline.reader.start import (
    FirstReader,
    started_reader,
    tell_of_start,
    tell_of_unused_head,
)
from roberta_squad_pipeline.reader.storage import TrainedReader, save_reader
from roberta_squad_pipeline.squad.dataset import Passage, Question, SquadDataset
from tiny_encoders import POSITIONS

pytestmark = pytest.mark.usefixtures("one_thread")

HEAD = [
    *("answerability_head.0.weight", "answerability_head.0.bias"),
    *("answerability_head.3.weight", "answerability_head.3.bias"),
]


def start_from(name: str, dropout: float = 0.0, attention_dropout: float = 0.0) -> ModelConfig:
    return ModelConfig(
        start=name,
        encoder=None,
        dropout=dropout,
        attention_dropout=attention_dropout,
        answerability_input="first_token",
    )


def on_encoder(folder: Path) -> ModelConfig:
    return ModelConfig(
        start=None,
        encoder=str(folder),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )


def started(folder: Path, config: ModelConfig | None = None) -> FirstReader:
    config = config or start_from(str(folder))
    return started_reader(config, folder, max_tokens=POSITIONS, vocabulary=1)


def question_answering(encoder: Path, folder: Path, **changes: object) -> Path:
    """Saves a question-answering model of transformers with random weights."""
    config = AutoConfig.from_pretrained(encoder, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        AutoModelForQuestionAnswering.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(encoder)).save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(roberta_folder: Path, tmp_path: Path) -> Path:
    return question_answering(roberta_folder, tmp_path / "checkpoint")


def save_for_transformers(trained: TrainedReader, folder: Path) -> None:
    save_pretrained(trained, folder, name="mine")


@pytest.mark.parametrize("save", [save_reader, save_for_transformers])
def test_own_reader_is_taken_bit_for_bit(
    evaluated: TrainedReader, tmp_path: Path, save: Callable[[TrainedReader, Path], None]
) -> None:
    """In its own layout and in transformers', the answerability head included."""
    folder = tmp_path / "mine"
    save(evaluated, folder)
    reader, origin = started(folder)
    mine, other = evaluated.reader.state_dict(), reader.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in mine.items())
    assert origin is not None
    assert (origin.unused, origin.drawn) == ((), ())
    assert origin.sha256 == {path.name: sha256_of(path) for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("kind", ["reader", "checkpoint"])
def test_dropout_is_set_anew(
    evaluated: TrainedReader, encoder_folder: Path, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "mine"
    if kind == "reader":
        save_reader(evaluated, folder)
    else:
        question_answering(encoder_folder, folder)
    reader = started(folder, start_from("mine", dropout=0.25, attention_dropout=0.5)).reader
    rates = {name: part.p for name, part in reader.named_modules() if isinstance(part, nn.Dropout)}
    assert {rate for name, rate in rates.items() if ".self." in name} == {0.5}
    assert {rate for name, rate in rates.items() if ".self." not in name} == {0.25}
    assert reader.dropout == 0.25
    assert reader.encoder.config.attention_probs_dropout_prob == 0.5


@pytest.fixture(params=["roberta", "bert", "electra", "deberta-v2", "xlm-roberta"])
def family(request: pytest.FixtureRequest) -> str:
    """Those of the tiny encoders whose question-answering models are built as readers are."""
    name: str = request.param
    return name


def test_question_answering_model_gives_its_span_logits(
    build: Callable[..., Features],
    encoder_of: Callable[[str], Path],
    window_config: WindowConfig,
    tmp_path: Path,
    family: str,
) -> None:
    """Oracle: transformers' model, on its own tokenizer's pair of question and passage."""
    folder = question_answering(encoder_of(family), tmp_path / "checkpoint")
    question, passage = "When was it built?", "The old bridge was built in 1889 by two brothers."
    squad = SquadDataset((Passage(passage, "", (Question("q", question, ()),)),))
    windows = window_config.model_copy(update={"order": "question_first"})
    batch = assemble(build(squad, folder, windows), np.array([0]))
    pair = AutoTokenizer.from_pretrained(str(folder))(question, passage, return_tensors="pt")
    with torch.no_grad():
        ours = started(folder).reader.eval()(batch)
        theirs = AutoModelForQuestionAnswering.from_pretrained(folder).eval()(**pair)
    torch.testing.assert_close(ours.start_logits, theirs.start_logits)
    torch.testing.assert_close(ours.end_logits, theirs.end_logits)
    assert theirs.start_logits.std() > 0.01


def test_what_of_a_checkpoint_is_not_used_or_not_there_is_said(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoint / "model.safetensors"
    more = {"roberta.pooler.dense.bias": torch.zeros(32), "classifier.bias": torch.zeros(2)}
    save_file(load_file(path) | more, path, metadata={"format": "pt"})
    config = start_from("who/mine")
    reader, origin = started(checkpoint, config)
    assert origin is not None
    assert set(origin.unused) == {"roberta.pooler.dense.bias", "classifier.bias"}
    assert list(origin.drawn) == HEAD
    assert set(HEAD) < set(reader.state_dict())
    assert origin.sha256 == {"model.safetensors": sha256_of(path)}
    tell_of_start(config, origin)
    assert "model.start=who/mine: not used: classifier.bias, roberta.pooler.dense.bias" in (
        caplog.text
    )
    assert f"model.start=who/mine: not there, and drawn at random: {', '.join(HEAD)}" in caplog.text


def test_answerability_head_is_drawn_from_torch_s_seed(checkpoint: Path) -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(started(checkpoint).reader.answerability_head[0].weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].std().item() == pytest.approx(0.2, rel=0.1)


def test_config_of_a_started_reader_names_no_other_model(checkpoint: Path) -> None:
    assert started(checkpoint).reader.encoder.config.architectures == ["RobertaModel"]


def damaged(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def without_a_layer(folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {name: one for name, one in load_file(path).items() if ".layer.1." not in name}
    save_file(kept, path, metadata={"format": "pt"})


def without_a_span_head(folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {name: one for name, one in load_file(path).items() if "qa_outputs" not in name}
    save_file(kept, path, metadata={"format": "pt"})


def with_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def of_a_decoder(folder: Path) -> None:
    config = GPT2Config(vocab_size=20, n_positions=64, n_embd=8, n_layer=1, n_head=1)
    GPT2Model(config).save_pretrained(folder)


def with_a_damaged_header(folder: Path) -> None:
    (folder / "reader.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (damaged, "without weights (safetensors) that loads"),
        (without_a_layer, "no roberta.encoder.layer.1."),
        (without_a_span_head, "a checkpoint without weights of a span head (qa_outputs)"),
        (with_pickled_weights, "without weights (safetensors) that loads"),
        (of_a_decoder, "an encoder of type gpt2"),
        (with_a_damaged_header, "no reader that loads"),
    ],
)
def test_what_training_cannot_go_on_from_is_named(
    checkpoint: Path, damage: Callable[[Path], None], got: str
) -> None:
    """By the name that was given, whatever folder its files lie in."""
    damage(checkpoint)
    with pytest.raises(InputError) as caught:
        started(checkpoint, start_from("who/mine"))
    assert caught.value.where == "model.start=who/mine"
    assert got in caught.value.got


@pytest.mark.parametrize(
    ("family", "changes", "got"),
    [
        ("bert", {"num_labels": 3}, "3 logits per token"),
        ("modernbert", {}, "ModernBertForQuestionAnswering, which consists of classifier, head"),
    ],
)
def test_other_heads_are_refused(
    encoder_of: Callable[[str], Path],
    tmp_path: Path,
    family: str,
    changes: dict[str, object],
    got: str,
) -> None:
    folder = question_answering(encoder_of(family), tmp_path / "checkpoint", **changes)
    with pytest.raises(InputError) as caught:
        started(folder)
    assert got in caught.value.got
    assert f"--params model.encoder={folder}" in caught.value.remedy


def test_windows_and_tokens_have_to_fit(checkpoint: Path) -> None:
    config = start_from("who/mine")
    with pytest.raises(InputError, match=r"features.max_tokens: got 65 .*that who/mine has"):
        started_reader(config, checkpoint, max_tokens=POSITIONS + 1, vocabulary=1)
    with pytest.raises(
        InputError, match=r"model.start=who/mine: got a tokenizer with 9999 entries"
    ):
        started_reader(config, checkpoint, max_tokens=POSITIONS, vocabulary=9999)


def test_tokenizer_is_that_of_the_start_under_its_name(
    checkpoint: Path, roberta_folder: Path, window_config: WindowConfig
) -> None:
    """A temporary folder's name would make features differ from one run to the next."""
    windows = window_config.model_copy(update={"order": "question_first"})
    found = source_tokenizer(start_from("models:/mine/1"), checkpoint, windows).identity
    assert found.encoder == "models:/mine/1"
    expected = source_tokenizer(on_encoder(roberta_folder), None, windows)
    assert found.sha256 == expected.identity.sha256


def test_order_of_the_windows_has_to_be_the_start_s(
    evaluated: TrainedReader, checkpoint: Path, window_config: WindowConfig, tmp_path: Path
) -> None:
    """A reader says its own; transformers' models are trained on the question first."""
    save_reader(evaluated, tmp_path / "mine")
    other = window_config.model_copy(update={"order": "question_first"})
    config = start_from("who/mine")
    source_tokenizer(config, tmp_path / "mine", window_config)
    source_tokenizer(config, checkpoint, other)
    for folder, windows, order in (
        (tmp_path / "mine", other, "passage_first"),
        (checkpoint, window_config, "question_first"),
    ):
        with pytest.raises(InputError) as caught:
            source_tokenizer(config, folder, windows)
        assert (
            caught.value.got
            == f"{windows.order}, while model.start=who/mine was trained on " + (order)
        )
        assert caught.value.remedy == f"Run with --params features.order={order}"


@pytest.mark.parametrize("save", [save_reader, save_for_transformers])
def test_reader_as_an_encoder_is_refused(
    evaluated: TrainedReader,
    tmp_path: Path,
    window_config: WindowConfig,
    save: Callable[[TrainedReader, Path], None],
) -> None:
    save(evaluated, tmp_path / "mine")
    with pytest.raises(InputError) as caught:
        source_tokenizer(on_encoder(tmp_path / "mine"), None, window_config)
    assert str(caught.value).startswith(f"model.encoder={tmp_path / 'mine'}: got a trained reader")
    assert f"--params model.start={tmp_path / 'mine'}" in caught.value.remedy


@pytest.mark.parametrize(
    ("architectures", "said"),
    [
        (["RobertaForQuestionAnswering"], "To use its span head as well: --params model.start="),
        (["RobertaForSequenceClassification"], "of which the encoder alone is used"),
        (["RobertaForMaskedLM"], ""),
        (["ElectraForPreTraining"], ""),
        (["RobertaModel"], ""),
        (None, ""),
    ],
)
def test_head_of_an_encoder_that_is_not_used_is_said(
    roberta_folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    architectures: list[str] | None,
    said: str,
) -> None:
    folder = shutil.copytree(roberta_folder, tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": architectures}))
    tell_of_unused_head(str(folder))
    assert len(caplog.records) == bool(said)
    assert said in caplog.text


def test_reader_on_the_hub(
    evaluated: TrainedReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's cache, as no test needs the network; its answerability head comes along."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--who--mine"
    save_for_transformers(evaluated, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0" * 40)
    reader = started(hub_folder("who/mine"), start_from("who/mine")).reader
    for name, tensor in evaluated.reader.state_dict().items():
        assert torch.equal(tensor, reader.state_dict()[name])


@pytest.mark.parametrize("name", ["nowhere/to-be-found", "data/06_models/typo", "/no/folder"])
def test_start_that_is_nowhere(name: str) -> None:
    with pytest.raises(InputError, match=f"model.start={name}: got no such folder, and nothing"):
        hub_folder(name)
