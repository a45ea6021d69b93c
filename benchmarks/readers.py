"""What benchmarks of readers share: the sample's windows, and encoders with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, RobertaConfig

from common import SHARED
from roberta_squad_pipeline.features.build import build_features
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.squad.dataset import read_squad
from roberta_squad_pipeline.training.config import LossScaleConfig, TrainingConfig

TOKENIZER = SHARED / "roberta-tokenizer"
MINI = {"layers": 6, "hidden": 384, "heads": 12}
"""MiniLM's shape: 10.6 million parameters in the layers, 19.3 million in the embeddings."""
LARGE = {"layers": 24, "hidden": 1024, "heads": 16}
"""RoBERTa large's shape: 302 million parameters in the layers."""


def sample_features(split: str, max_tokens: int, every: int = 1) -> Features:
    """Windows of the real sample with RoBERTa's own tokenizer.

    Args:
        split: train or dev.
        max_tokens: Of a window.
        every: Of so many passages one is taken.
    """
    tokenizer = PassageTokenizer.load(str(TOKENIZER))
    path = SHARED / "squad" / f"{split}-sample.json"
    windows = WindowConfig(
        order="passage_first", max_tokens=max_tokens, max_question_tokens=64, stride=128
    )
    batch = build_features(
        read_squad(path, on_misaligned="error").passages[::every],
        tokenizer=tokenizer,
        windows=windows,
        source=str(path),
        data_sha256="0" * 64,
    )
    return Features.from_batch(batch)


def encoder_config(shape: Mapping[str, int], dropout: float = 0.1) -> RobertaConfig:
    """A RoBERTa of this shape for RoBERTa's own tokenizer and windows of up to 512 tokens."""
    return RobertaConfig(
        vocab_size=50_265,
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        intermediate_size=4 * shape["hidden"],
        max_position_embeddings=514,
        type_vocab_size=1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def random_encoder(shape: Mapping[str, int], dropout: float = 0.1) -> PreTrainedModel:
    """An encoder of this shape with random weights, the same at every call."""
    torch.manual_seed(0)
    return AutoModel.from_config(encoder_config(shape, dropout), add_pooling_layer=False)


def save_encoder(folder: Path, shape: Mapping[str, int]) -> None:
    """Writes a random encoder with RoBERTa's own tokenizer, for `model.encoder`."""
    random_encoder(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(folder)


def training_config(**changes: Any) -> TrainingConfig:
    """The recipe's settings, with an update of 48 windows in one pass."""
    settings: dict[str, Any] = {
        "updates": 5430,
        "warmup_updates": 326,
        "batch_size": 48,
        "micro_batch": 48,
        "lr": 3e-5,
        "layer_decay": 0.75,
        "decay_power": 1.0,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "empty_windows": "keep",
        "answerability_weight": 0.5,
        "no_answer_span_weight": 1.0,
        "plausible_weight": 0.0,
        "max_grad_norm": None,
        "precision": "bf16",
        "loss_scale": LossScaleConfig(
            initial=4.0, growth_updates=128, minimum=1.0, skips_at_minimum=100
        ),
        "compile_layers": False,
        "seed": 1,
        "checkpoint_every": 500,
        "resume": "never",
        "evaluate_every": None,
        "keep": "last",
        "patience": None,
    }
    return TrainingConfig(**settings | changes)


def inference_config(precision: str, batch_windows: int) -> InferenceConfig:
    """The usual recipe's settings of the search."""
    return InferenceConfig(
        batch_windows=batch_windows,
        precision=precision,
        max_answer_tokens=30,
        n_best=20,
        null_score="best_span",
    )


def plain_rows(features: Features) -> list[dict[str, Any]]:
    """All windows as the usual recipe keeps them: lists of ids, to be padded batch by batch."""
    from roberta_squad_pipeline.reader.batching import assemble

    rows = []
    for index in range(len(features.windows.question)):
        batch = assemble(features, np.array([index]))
        rows.append(
            {
                "input_ids": batch.input_ids[0].tolist(),
                "attention_mask": [1] * batch.input_ids.shape[1],
                "start_positions": int(batch.start),
                "end_positions": int(batch.end),
            }
        )
    return rows
