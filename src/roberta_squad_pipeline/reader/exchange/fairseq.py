"""Reads RoBERTa as fairseq saves it, without running code that the file asks for.

Names: fairseq's `RobertaModel` (Ott et al., 2019) and, for the heads, the published series'
`roberta_qa`: `span_logits`, and `answer_class` with `dense_0` and `dense_1`.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from transformers import RobertaConfig, RobertaModel

from roberta_squad_pipeline.common.errors import InputError

_EMBEDDINGS = "sentence_encoder.embed_tokens.weight"
_LAYER = re.compile(r"layers\.(\d+)\.(.+)")
_PARTS = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
"""Of a layer: fairseq's names and transformers'."""
_AROUND = {
    "embed_tokens": "embeddings.word_embeddings",
    "embed_positions": "embeddings.position_embeddings",
    "emb_layer_norm": "embeddings.LayerNorm",
    "layernorm_embedding": "embeddings.LayerNorm",  # its name in later releases
}
_HEADS = {
    "span_logits": "span_head",
    "answer_class.dense_0": "answerability_head.0",
    "answer_class.dense_1": "answerability_head.3",
}


@dataclass(frozen=True, slots=True)
class FairseqReader:
    """The content of a checkpoint, with this project's names."""

    encoder: RobertaModel
    """The encoder, without pooling layer."""
    heads: dict[str, Tensor]
    """Weights by `ReaderModel`'s names; empty for an encoder without heads."""


def read_fairseq(path: Path) -> FairseqReader:
    """Reads a fairseq RoBERTa checkpoint, with or without both heads.

    It is unpickled with nothing but tensors, plain values and `argparse.Namespace`.

    Args:
        path: The file model.pt, with `args` and `model`.

    Raises:
        InputError: It is not such a checkpoint, or asks for other code.
    """
    checkpoint = _unpickle(path)
    args, weights = checkpoint.get("args"), checkpoint.get("model")
    if not isinstance(args, argparse.Namespace) or not isinstance(weights, dict):
        raise _no_roberta(path, f"an object with {', '.join(map(str, checkpoint)) or 'nothing'}")
    found = next((name for name in weights if name.endswith(_EMBEDDINGS)), None)
    if found is None:
        raise _no_roberta(path, f"weights without {_EMBEDDINGS}")
    prefix = found.removesuffix("embed_tokens.weight")
    heads = _renamed(weights, prefix.removesuffix("sentence_encoder."), _HEADS)
    if heads and len(heads) != 2 * len(_HEADS):
        raise _no_roberta(path, f"heads with {', '.join(sorted(heads))} alone")
    try:
        encoder = RobertaModel(_config(args, weights, prefix), add_pooling_layer=False)
        encoder.load_state_dict(_encoder(weights, prefix))
    except (KeyError, AttributeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise _no_roberta(path, f"weights that do not fit its args ({reason})") from error
    return FairseqReader(encoder, heads)


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            where=str(path),
            got=f"a pickle that asks for {wanted[1]}" if wanted else "a pickle that does not load",
            expected="only tensors, plain values and argparse.Namespace, so that no code is run",
            remedy="If you trust it, save it again where fairseq is installed: "
            "c = torch.load(PATH, weights_only=False); "
            "torch.save({'args': c['args'], 'model': c['model']}, NEW_PATH)",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise _no_roberta(path, str(error).splitlines()[0] or "an empty file") from error
    return loaded if isinstance(loaded, dict) else {}


def _config(args: argparse.Namespace, weights: dict[str, Tensor], prefix: str) -> RobertaConfig:
    entries, hidden = weights[f"{prefix}embed_tokens.weight"].shape
    return RobertaConfig(
        vocab_size=entries,
        hidden_size=hidden,
        num_hidden_layers=args.encoder_layers,
        num_attention_heads=args.encoder_attention_heads,
        intermediate_size=weights[f"{prefix}layers.0.fc1.weight"].shape[0],
        max_position_embeddings=weights[f"{prefix}embed_positions.weight"].shape[0],
        hidden_act=args.activation_fn,
        type_vocab_size=1,
        layer_norm_eps=1e-5,  # torch's default, which fairseq uses
        # fairseq's dictionary begins with <s>, <pad>, </s>, <unk>.
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )


def _encoder(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    encoder = _renamed(weights, prefix, _AROUND)
    for name, tensor in weights.items():
        layer = _LAYER.fullmatch(name.removeprefix(prefix))
        if layer is None or not name.startswith(prefix):
            continue
        number, rest = layer.groups()
        part, _, kind = rest.rpartition(".")
        own = f"encoder.layer.{number}."
        if part == "self_attn" and kind.startswith("in_proj_"):  # of early releases
            for which, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                key = f"{own}attention.self.{which}.{kind.removeprefix('in_proj_')}"
                encoder[key] = third.float()
        else:
            encoder[f"{own}{_PARTS[part]}.{kind}"] = tensor.float()
    # RoBERTa has one type of token, which fairseq leaves out.
    hidden = weights[f"{prefix}embed_tokens.weight"].shape[1]
    encoder["embeddings.token_type_embeddings.weight"] = torch.zeros(1, hidden)
    return encoder


def _renamed(weights: dict[str, Tensor], prefix: str, names: dict[str, str]) -> dict[str, Tensor]:
    return {
        f"{own}.{kind}": weights[f"{prefix}{theirs}.{kind}"].float()
        for theirs, own in names.items()
        for kind in ("weight", "bias")
        if f"{prefix}{theirs}.{kind}" in weights
    }


def _no_roberta(path: Path, got: str) -> InputError:
    return InputError(
        where=str(path),
        got=got,
        expected="a fairseq RoBERTa checkpoint (model.pt with args and model)",
        remedy="Give the file's path: --params checkpoint=PATH",
    )
