"""Settings that the tests of training start from."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from roberta_squad_pipeline.reader import attention
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.training import graphs
from roberta_squad_pipeline.training.config import LossScaleConfig, TrainingConfig


@pytest.fixture(scope="session")
def recipe() -> TrainingConfig:
    """The recipe's settings but for length, batch and learning rate."""
    return TrainingConfig(
        updates=20,
        warmup_updates=4,
        batch_size=8,
        micro_batch=3,
        lr=1e-3,
        layer_decay=0.75,
        decay_power=1.0,
        betas=(0.9, 0.98),
        eps=1e-6,
        weight_decay=0.01,
        empty_windows="keep",
        answerability_weight=0.5,
        no_answer_span_weight=1.0,
        plausible_weight=0.0,
        max_grad_norm=None,
        precision="fp32",
        loss_scale=LossScaleConfig(
            initial=4.0, growth_updates=128, minimum=1.0, skips_at_minimum=100
        ),
        compile_layers=False,
        seed=1,
        checkpoint_every=10,
        resume="auto",
        evaluate_every=None,
        keep="last",
        patience=None,
    )


@pytest.fixture(scope="session")
def inference() -> InferenceConfig:
    """Batches of which the tiny data set has three, so that two processes have not equally many."""
    return InferenceConfig(
        batch_windows=8, precision="fp32", max_answer_tokens=48, n_best=5, null_score="best_span"
    )


@pytest.fixture
def graphs_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CUDA graph would do is done again at each replay.

    Attention takes lengths from tensors, as on a GPU: a graph would keep those that Python knows.
    """

    def recorded(passes: Callable[[], Tensor], *_: Any) -> tuple[Any, Tensor]:
        result = torch.zeros(())
        return SimpleNamespace(replay=lambda: result.copy_(passes())), result

    monkeypatch.setattr(attention, "_kernel", lambda *_, **__: attention.attend_padded)
    monkeypatch.setattr(graphs, "_recorded", recorded)
    monkeypatch.setattr("torch.cuda.graph_pool_handle", lambda: None)
