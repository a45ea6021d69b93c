"""The reader: encoder and heads.

Oracle: transformers' own model of the encoder, loaded from the same folder, with its plainest
attention; for the heads, the recipe's formulas in numpy.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    RobertaModel,
)

from losses import SERIES
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader import families
from roberta_squad_pipeline.reader.batching import Batch, assemble
from roberta_squad_pipeline.reader.config import AnswerabilityInput, ModelConfig, Precision
from roberta_squad_pipeline.reader.device import computing_in
from roberta_squad_pipeline.reader.model import ReaderModel, new_reader
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.training.loss import summed_loss

pytestmark = pytest.mark.usefixtures("one_thread")
Build = Callable[[SquadDataset, Path, WindowConfig], Features]
LONGEST = 64
"""Tokens that the tiny encoders have positions for."""
# Without dropout, and with weights wider than usual, so that every part has a say.
SMALL = {
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 1,
}
FAMILIES = {
    **dict.fromkeys(["roberta", "xlm-roberta", "camembert", "bert", "electra", "ernie"], SMALL),
    "albert": {**SMALL, "embedding_size": 16},
    "xlm-roberta-xl": SMALL,
    "distilbert": {
        "vocab_size": 600,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "initializer_range": 0.1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "pad_token_id": 1,
    },
}
"""Those whose windows are read end to end, with small settings."""


@pytest.fixture
def batch(tiny_features: Features) -> Batch:
    """All windows, of many lengths."""
    return assemble(tiny_features, np.arange(len(tiny_features.windows.question)))


@pytest.fixture
def original(encoder_folder: Path) -> PreTrainedModel:
    kind = {"roberta": RobertaModel, "bert": BertModel}[model_type(encoder_folder)]
    return kind.from_pretrained(encoder_folder, attn_implementation="eager").eval()


def model_type(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["model_type"]


def settings_of(folder: Path, dropout: float = 0.0, attention_dropout: float = 0.0) -> ModelConfig:
    return ModelConfig(
        start=None,
        encoder=str(folder),
        dropout=dropout,
        attention_dropout=attention_dropout,
        answerability_input="first_token",
    )


def hidden_of(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask.long(),
            **token_types(model, batch),
        ).last_hidden_state


def token_types(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    return {"token_type_ids": batch.token_type_ids} if model.config.model_type == "bert" else {}


def seen_by(module: nn.Module) -> list[Tensor]:
    """What the module puts out from now on."""
    seen: list[Tensor] = []
    module.register_forward_hook(
        lambda _, __, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    return seen


def test_encoder_computes_what_transformers_computes(
    tiny_reader: ReaderModel, original: PreTrainedModel, batch: Batch
) -> None:
    """The first layer's output and the last one's, wherever there is a token."""
    first = [seen_by(model.encoder.layer[0]) for model in (tiny_reader.encoder, original)]
    last = seen_by(tiny_reader.encoder.encoder.layer[1])
    tiny_reader.eval()
    with torch.no_grad():
        tiny_reader(batch)
    expected_last = hidden_of(original, batch)
    (mine,), (expected,) = first
    # Mine are in one row, without padding.
    here = batch.attention_mask
    torch.testing.assert_close(mine[0], expected[here], rtol=0, atol=1e-5)
    torch.testing.assert_close(last[0][0], expected_last[here], rtol=0, atol=1e-5)


def test_heads_are_the_recipe_s(
    tiny_reader: ReaderModel, original: PreTrainedModel, batch: Batch
) -> None:
    """Span: W h + b at every token. Answerability: v · tanh(U h + c) + d at `<s>`."""
    weights = {name: p.detach().double().numpy() for name, p in tiny_reader.named_parameters()}
    hidden = hidden_of(original, batch).double().numpy()
    with torch.no_grad():
        output = tiny_reader.eval()(batch)
    spans = hidden @ weights["span_head.weight"].T + weights["span_head.bias"]
    here = batch.attention_mask.numpy()
    np.testing.assert_allclose(output.start_logits.numpy()[here], spans[here][:, 0], atol=1e-5)
    np.testing.assert_allclose(output.end_logits.numpy()[here], spans[here][:, 1], atol=1e-5)
    head = "answerability_head"
    inner = np.tanh(hidden[:, 0] @ weights[f"{head}.0.weight"].T + weights[f"{head}.0.bias"])
    outer = inner @ weights[f"{head}.3.weight"][0] + weights[f"{head}.3.bias"]
    np.testing.assert_allclose(output.no_answer_logits.numpy(), outer, atol=1e-5)
    assert {tuple(weights["span_head.weight"].shape)} == {(2, hidden.shape[2])}
    assert weights[f"{head}.0.weight"].shape == (hidden.shape[2], hidden.shape[2])


@pytest.mark.parametrize("order", ["passage_first", "question_first"])
def test_the_answerability_head_may_look_at_the_question(
    build: Build,
    tiny_squad: SquadDataset,
    encoder_folder: Path,
    window_config: WindowConfig,
    order: Order,
) -> None:
    """Oracle: the head at the mean over all tokens but the passage's and those on its side."""
    windows = window_config.model_copy(update={"order": order})
    features = build(tiny_squad, encoder_folder, windows)
    batch = assemble(features, np.arange(len(features.windows.question)))
    torch.manual_seed(5)
    config = settings_of(encoder_folder).model_copy(update={"answerability_input": "question"})
    reader = new_reader(config, max_tokens=LONGEST, vocabulary=1).eval()
    with torch.no_grad():
        got = reader(batch).no_answer_logits
        padded = reader(replace(batch, packing=None)).no_answer_logits
        hidden = hidden_of(reader.encoder, batch)
        for row, tokens in enumerate(features.window_tokens):
            passage = features.passage_position[row]
            after = passage + features.windows.count[row]
            # A separator ends either side, and <s> belongs to the first.
            looked_at = slice(0, passage) if order == "question_first" else slice(after + 1, tokens)
            mean = hidden[row, looked_at].mean(0)
            torch.testing.assert_close(got[row], reader.answerability_head(mean)[0])
    torch.testing.assert_close(padded, got, rtol=0, atol=1e-5)


def test_padding_is_minus_infinity(tiny_reader: ReaderModel, batch: Batch) -> None:
    output = tiny_reader.eval()(batch)
    for logits in output[:2]:
        assert torch.equal(logits.isneginf(), ~batch.attention_mask)
    assert output.no_answer_logits.isfinite().all()


def test_padding_changes_no_logit(tiny_reader: ReaderModel, tiny_features: Features) -> None:
    """Oracle: each window in a batch of its own, where nothing is padded."""
    tiny_reader.eval()
    everything = np.arange(len(tiny_features.windows.question))
    with torch.no_grad():
        together = tiny_reader(assemble(tiny_features, everything))
        for index, tokens in enumerate(tiny_features.window_tokens):
            alone = tiny_reader(assemble(tiny_features, np.array([index])))
            for mine, padded in zip(alone[:2], together[:2], strict=True):
                torch.testing.assert_close(padded[index, :tokens], mine[0], rtol=0, atol=1e-5)
            no_answer = together.no_answer_logits[index]
            torch.testing.assert_close(no_answer, alone.no_answer_logits[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "tolerance", "looks_at"),
    [("fp32", 1e-5, "question"), ("bf16", 5e-2, "first_token")],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_reading_without_padding_gives_the_padded_logits_and_gradients(
    family: str,
    precision: Precision,
    tolerance: float,
    looks_at: AnswerabilityInput,
    tiny_batch: pa.RecordBatch,
) -> None:
    """Oracle: transformers' own attention over padded windows, fp32."""
    features = Features.from_batch(tiny_batch)
    batch = assemble(features, np.arange(len(features.windows.question)))
    torch.manual_seed(3)
    encoder = AutoModel.from_config(AutoConfig.for_model(family, **FAMILIES[family]))
    reader = ReaderModel(encoder, 0.0, looks_at)
    assert reader.first_position is not None
    outputs, gradients = [], []
    for read, computed in ((replace(batch, packing=None), "fp32"), (batch, precision)):
        with computing_in(computed, torch.device("cpu")):
            outputs.append(reader(read))
        reader.zero_grad()
        summed_loss(outputs[-1], batch, SERIES).backward()
        reached = [p.grad.flatten() for p in reader.parameters() if p.grad is not None]
        gradients.append(torch.cat(reached))
    for padded, mine in zip(*outputs, strict=True):
        torch.testing.assert_close(mine, padded, rtol=tolerance, atol=tolerance)
    padded, mine = gradients
    assert (mine - padded).norm() < tolerance * padded.norm()


def test_every_family_that_can_be_read_without_padding_is_tried() -> None:
    assert set(FAMILIES) == {name for name, family in families.FAMILIES.items() if family.packable}


def test_encoder_that_looks_beyond_windows_reads_them_padded(batch: Batch) -> None:
    """DeBERTa computes its own attention, from positions relative to each other."""
    config = AutoConfig.for_model("deberta-v2", **SMALL, relative_attention=True)
    reader = ReaderModel(AutoModel.from_config(config), 0.0, "first_token").eval()
    assert reader.first_position is None
    with torch.no_grad():
        for mine, padded in zip(reader(batch), reader(replace(batch, packing=None)), strict=True):
            assert torch.equal(mine, padded)


def test_token_types_are_bert_s_alone(
    tiny_reader: ReaderModel, batch: Batch, encoder_folder: Path
) -> None:
    """RoBERTa has one type of token; BERT tells passage and question apart."""
    flipped = replace(batch, token_type_ids=1 - batch.token_type_ids)
    tiny_reader.eval()
    with torch.no_grad():
        as_is, other = (tiny_reader(b).no_answer_logits for b in (batch, flipped))
    assert torch.equal(as_is, other) == (model_type(encoder_folder) == "roberta")


def test_reader_has_no_pooling_layer(tiny_reader: ReaderModel) -> None:
    """No loss reaches it, so it would be trained by nothing."""
    assert not [name for name, _ in tiny_reader.named_parameters() if "pooler" in name]


def test_dropout_reaches_every_part(encoder_folder: Path) -> None:
    """transformers keeps dropout of attention weights as a number, the others as modules."""
    reader = new_reader(settings_of(encoder_folder, 0.25, 0.125), max_tokens=LONGEST, vocabulary=1)
    rates = {name: m.p for name, m in reader.named_modules() if isinstance(m, nn.Dropout)}
    attention = {name: rate for name, rate in rates.items() if ".self." in name}
    assert len(attention) == 2
    assert set(attention.values()) == {0.125}
    others = set(rates) - set(attention)
    # Embeddings, two in each of two layers, and the answerability head.
    assert len(others) == 6
    assert {rates[name] for name in others} == {0.25}
    assert isinstance(reader.answerability_head[2], nn.Dropout)


@pytest.mark.parametrize(("dropout", "attention_dropout"), [(0.5, 0.0), (0.0, 0.5)])
def test_dropout_is_in_force_while_training_only(
    roberta_folder: Path,
    tiny_batch: pa.RecordBatch,
    dropout: float,
    attention_dropout: float,
) -> None:
    batch = assemble(Features.from_batch(tiny_batch), np.array([0]))
    config = settings_of(roberta_folder, dropout, attention_dropout)
    reader = new_reader(config, max_tokens=LONGEST, vocabulary=1)
    outputs = [reader.train(mode)(batch) for mode in (True, True, False, False)]
    logits = [output.start_logits[0] for output in outputs]
    assert not torch.allclose(logits[0], logits[1])
    assert torch.equal(logits[2], logits[3])


def test_first_weights_of_the_heads_come_from_torch_s_seed(encoder_folder: Path) -> None:
    """Normal with the encoder's own spread, 0.2 for the tiny ones; biases 0."""
    heads = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        reader = new_reader(settings_of(encoder_folder), max_tokens=LONGEST, vocabulary=1)
        heads.append(reader.answerability_head[0].weight)
        assert not reader.span_head.bias.any()
        assert heads[-1].std().item() == pytest.approx(0.2, rel=0.1)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_half_precision_weights_become_single(encoder_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(encoder_folder, tmp_path / "half")
    new_reader(
        settings_of(folder), max_tokens=LONGEST, vocabulary=1
    ).encoder.half().save_pretrained(folder)
    reader = new_reader(settings_of(folder), max_tokens=LONGEST, vocabulary=1)
    assert {parameter.dtype for parameter in reader.parameters()} == {torch.float32}


def test_windows_may_be_as_long_as_the_positions_reach(
    encoder_folder: Path, tiny_features: Features
) -> None:
    """The limit is real: a window of that length is read, one token more has no position."""
    reader = new_reader(settings_of(encoder_folder), max_tokens=LONGEST, vocabulary=1).eval()
    longest = assemble(tiny_features, np.array([tiny_features.window_tokens.argmax()]))
    ids = longest.input_ids[:, :1].expand(1, LONGEST)
    mask = torch.ones_like(ids, dtype=torch.bool)
    label = torch.zeros(1, dtype=torch.long)
    reader(Batch(ids, mask, torch.zeros_like(ids), label, label, label, label))
    with pytest.raises(InputError) as caught:
        new_reader(settings_of(encoder_folder), max_tokens=LONGEST + 1, vocabulary=1)
    assert caught.value.where == "features.max_tokens"
    assert caught.value.got == "65 tokens in a window"
    assert "at most 64" in caught.value.expected
    assert "--params features.max_tokens=64" in caught.value.remedy


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_damaged_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def with_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def with_weights_of_another_shape(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "intermediate_size": 48}))


def with_weights_of_another_kind(folder: Path) -> None:
    """Like a trained reader's, whose encoder's weights go by other names."""
    path = folder / "model.safetensors"
    renamed = {f"encoder.{name}": tensor for name, tensor in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})


def with_a_layer_too_few(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 3}))


@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (without_weights, "without weights"),
        (without_config, "without a config.json"),
        (with_damaged_weights, "without weights"),
        (with_pickled_weights, "without weights"),
        (with_weights_of_another_shape, "without weights"),
        (with_weights_of_another_kind, "no embeddings.LayerNorm.bias among them"),
        (with_a_layer_too_few, "no encoder.layer.2.attention.output.LayerNorm.bias among them"),
    ],
)
def test_folder_that_is_no_encoder_is_named(
    roberta_folder: Path, tmp_path: Path, damage: Callable[[Path], None], got: str
) -> None:
    folder = shutil.copytree(roberta_folder, tmp_path / "encoder")
    damage(folder)
    with pytest.raises(InputError) as caught:
        new_reader(settings_of(folder), max_tokens=LONGEST, vocabulary=1)
    assert caught.value.where == f"model.encoder={folder}"
    assert "a folder that holds" in caught.value.got
    assert got in caught.value.got
    assert "save_pretrained" in caught.value.expected
    assert caught.value.remedy.startswith("Check the path")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        new_reader(settings_of(tmp_path / "nowhere"), max_tokens=LONGEST, vocabulary=1)


def test_tokenizer_with_more_entries_than_embeddings(encoder_folder: Path) -> None:
    entries = AutoConfig.from_pretrained(encoder_folder).vocab_size
    new_reader(settings_of(encoder_folder), max_tokens=8, vocabulary=entries)
    with pytest.raises(InputError, match=f"a tokenizer with {entries + 1} entries"):
        new_reader(settings_of(encoder_folder), max_tokens=8, vocabulary=entries + 1)


def test_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="got a file"):
        new_reader(settings_of(tmp_path / "model.pt"), max_tokens=LONGEST, vocabulary=1)


def test_decoder_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=20, n_positions=64, n_embd=8, n_layer=1, n_head=1)
    GPT2Model(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="an encoder of type gpt2"):
        new_reader(settings_of(tmp_path), max_tokens=LONGEST, vocabulary=1)
