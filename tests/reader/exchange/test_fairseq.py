"""fairseq checkpoints.

Oracle: a RoBERTa of transformers, written out under fairseq's names one by one.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.pipelines.import_fairseq.nodes import import_checkpoint
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.exchange.fairseq import read_fairseq
from roberta_squad_pipeline.reader.storage import load_reader

pytestmark = pytest.mark.usefixtures("one_thread")

INFERENCE = InferenceConfig(
    batch_windows=3, precision="fp32", max_answer_tokens=6, n_best=5, null_score="best_span"
)
LAYERS, HIDDEN = 2, 32


class Published(nn.Module):
    """The published heads on transformers' encoder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        torch.manual_seed(3)
        config = RobertaConfig.from_pretrained(folder, layer_norm_eps=1e-5)  # torch's own
        self.encoder = RobertaModel(config, add_pooling_layer=False)
        # fairseq has no types of tokens.
        nn.init.zeros_(self.encoder.embeddings.token_type_embeddings.weight)
        self.span_logits = nn.Linear(HIDDEN, 2)
        self.dense_0, self.dense_1 = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.encoder(input_ids=ids).last_hidden_state
        return self.span_logits(hidden), self.dense_1(self.dense_0(hidden[:, 0]).tanh())


def fairseq_weights(model: Published, root: str, *, heads: bool, early: bool) -> dict[str, Tensor]:
    """Under fairseq's names; early releases have one matrix for query, key and value."""
    theirs = model.encoder.state_dict()
    at, norm = f"{root}.sentence_encoder.", "emb_layer_norm" if early else "layernorm_embedding"
    weights = {
        f"{at}embed_tokens.weight": theirs["embeddings.word_embeddings.weight"],
        f"{at}embed_positions.weight": theirs["embeddings.position_embeddings.weight"],
        f"{at}{norm}.weight": theirs["embeddings.LayerNorm.weight"],
        f"{at}{norm}.bias": theirs["embeddings.LayerNorm.bias"],
        f"{root}.lm_head.bias": torch.zeros(theirs["embeddings.word_embeddings.weight"].shape[0]),
    }
    for n in range(LAYERS):
        layer, own = f"{at}layers.{n}", f"encoder.layer.{n}"
        for kind in ("weight", "bias"):
            q, k, v = (
                theirs[f"{own}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")
            )
            if early:
                weights[f"{layer}.self_attn.in_proj_{kind}"] = torch.cat([q, k, v])
            else:
                weights[f"{layer}.self_attn.q_proj.{kind}"] = q
                weights[f"{layer}.self_attn.k_proj.{kind}"] = k
                weights[f"{layer}.self_attn.v_proj.{kind}"] = v
            out = theirs[f"{own}.attention.output.dense.{kind}"]
            weights[f"{layer}.self_attn.out_proj.{kind}"] = out
            after = theirs[f"{own}.attention.output.LayerNorm.{kind}"]
            weights[f"{layer}.self_attn_layer_norm.{kind}"] = after
            weights[f"{layer}.fc1.{kind}"] = theirs[f"{own}.intermediate.dense.{kind}"]
            weights[f"{layer}.fc2.{kind}"] = theirs[f"{own}.output.dense.{kind}"]
            last = theirs[f"{own}.output.LayerNorm.{kind}"]
            weights[f"{layer}.final_layer_norm.{kind}"] = last
            if heads:
                weights[f"{root}.span_logits.{kind}"] = getattr(model.span_logits, kind)
                for dense in ("dense_0", "dense_1"):
                    tensor = getattr(getattr(model, dense), kind)
                    weights[f"{root}.answer_class.{dense}.{kind}"] = tensor
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def args(**changed: Any) -> argparse.Namespace:
    known = {"encoder_layers": LAYERS, "encoder_attention_heads": 4, "activation_fn": "gelu"}
    return argparse.Namespace(**(known | {"arch": "roberta_large"} | changed))


@pytest.fixture
def published(roberta_folder: Path) -> Published:
    return Published(roberta_folder).eval()


def convert(path: Path, encoder: Path, folder: Path) -> None:
    windows = WindowConfig(order="passage_first", max_tokens=64, max_question_tokens=20, stride=16)
    model = ModelConfig(
        start=None,
        encoder=str(encoder),
        dropout=0.1,
        attention_dropout=0.1,
        answerability_input="first_token",
    )
    import_checkpoint(str(path), model, windows, INFERENCE, folder)


@pytest.mark.parametrize(("root", "early"), [("decoder", True), ("encoder", False)])
def test_reader_with_the_published_heads(
    published: Published, roberta_folder: Path, tmp_path: Path, root: str, early: bool
) -> None:
    """The same logits from the saved reader."""
    weights = fairseq_weights(published, root, heads=True, early=early)
    torch.save({"args": args(), "model": weights, "extra_state": {"epoch": 2}}, tmp_path / "m.pt")
    convert(tmp_path / "m.pt", roberta_folder, tmp_path / "imported")
    reader = load_reader(tmp_path / "imported")
    ids = torch.tensor([[0, 40, 50, 60, 2, 70, 80, 2]])
    with torch.no_grad():
        spans, no_answer = published(ids)
        hidden = reader.reader.eval().encoder(input_ids=ids).last_hidden_state
        torch.testing.assert_close(reader.reader.span_head(hidden), spans)
        torch.testing.assert_close(reader.reader.answerability_head(hidden[:, 0]), no_answer)
    assert reader.header.recipe["fairseq"]["checkpoint"] == "m.pt"
    assert reader.header.inference == INFERENCE
    with pytest.raises(InputError, match="Give another name: --params run=NAME"):
        convert(tmp_path / "m.pt", roberta_folder, tmp_path / "imported")


def test_encoder_alone(published: Published, roberta_folder: Path, tmp_path: Path) -> None:
    """A folder for model.encoder; 16-bit weights become 32-bit ones."""
    weights = fairseq_weights(published, "decoder", heads=False, early=False)
    half = {name: tensor.half() for name, tensor in weights.items()}
    torch.save({"args": args(), "model": half}, tmp_path / "model.pt")
    convert(tmp_path / "model.pt", roberta_folder, tmp_path / "encoder")
    again = RobertaModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False)
    for name, tensor in published.encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor.half().float())


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, roberta_folder: Path) -> None:
    torch.save({"args": args(), "model": Malicious(tmp_path / "run")}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"a pickle that asks for \w+\.system"):
        convert(tmp_path / "model.pt", roberta_folder, tmp_path / "imported")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "imported").exists()


def test_other_files_are_refused(
    published: Published, roberta_folder: Path, bert_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    whole = fairseq_weights(published, "decoder", heads=True, early=False)
    lacking = {name: t for name, t in whole.items() if "dense_1" not in name}
    refused: dict[str, Any] = {
        "weights without sentence_encoder": {"args": args(), "model": {"a": torch.zeros(1)}},
        "an object with state": {"state": 1},
        "weights that do not fit": {"args": args(encoder_layers=3), "model": whole},
        "heads with .* alone": {"args": args(), "model": lacking},
    }
    for said, content in refused.items():
        torch.save(content, path)
        with pytest.raises(InputError, match=said):
            read_fairseq(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"a pickle that does not load|expected a fairseq"):
        read_fairseq(path)
    with pytest.raises(InputError, match="No such file"):
        read_fairseq(tmp_path / "nothing.pt")
    torch.save({"args": args(), "model": whole}, path)
    with pytest.raises(InputError, match=r"vocabulary of .* as in the tokenizer of model\.encoder"):
        convert(path, bert_folder, tmp_path / "imported")
