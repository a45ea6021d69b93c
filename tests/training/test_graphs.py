"""Gradients by CUDA graphs. Oracle: those of the plain pass over the same batches."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import Batch, assemble
from roberta_squad_pipeline.reader.config import AnswerabilityInput, Precision
from roberta_squad_pipeline.reader.device import computing_in
from roberta_squad_pipeline.reader.model import (
    ReaderModel,
    ReaderOutput,
    empty_reader,
    load_encoder_config,
)
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.graphs import GraphedGradients, Losses, fill_row, takes_graphs
from roberta_squad_pipeline.training.learning_rates import build_optimizer
from roberta_squad_pipeline.training.loss import summed_loss
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.step import train_step

GPU, CPU = torch.device("cuda"), torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def new_reader_of(folder: Any, looks_at: AnswerabilityInput, dropout: float = 0.0) -> ReaderModel:
    config = load_encoder_config(str(folder))
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    torch.manual_seed(0)
    return empty_reader(config, dropout, looks_at).train()


def batches_of(features: Features, pieces: int) -> list[Batch]:
    windows = np.arange(len(features.windows.question))
    return [assemble(features, piece) for piece in np.array_split(windows, pieces)]


def losses_of(read: Callable[[Batch], ReaderOutput], config: TrainingConfig) -> Losses:
    def losses(batch: Batch) -> tuple[Tensor, Tensor]:
        with computing_in(config.precision, batch.start.device):
            output = read(batch)
        loss = summed_loss(output, batch, config)
        return loss, 8 * loss

    return losses


def plain(
    reader: ReaderModel, batches: list[Batch], config: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """The sum of the losses, and all scaled gradients, end to end."""
    reader.zero_grad()
    total = torch.zeros(())
    for batch in batches:
        loss, scaled = losses_of(reader, config)(batch)
        scaled.backward()  # type: ignore[no-untyped-call]
        total = total.to(loss.device) + loss.detach()
    return total, gradients(reader)


def gradients(reader: ReaderModel) -> Tensor:
    found = [each.grad for each in reader.parameters() if each.grad is not None]
    assert len(found) == len(list(reader.parameters()))
    return torch.cat([each.flatten() for each in found]).clone()


@pytest.mark.parametrize("looks_at", ["first_token", "question"])
def test_a_filled_row_has_the_same_loss_and_gradients(
    tiny_features: Features,
    recipe: TrainingConfig,
    roberta_folder: Any,
    looks_at: AnswerabilityInput,
) -> None:
    config = recipe.model_copy(update={"plausible_weight": 1.0, "no_answer_span_weight": 0.3})
    reader = new_reader_of(roberta_folder, looks_at)
    [batch] = batches_of(tiny_features, 1)
    longest = int(tiny_features.window_tokens.max())
    loss, found = plain(reader, [batch], config)
    for step in (1, 7, longest):
        filled = fill_row(batch, tokens=longest + 3, step=step)
        assert filled.packing
        tokens = sum(filled.packing.lengths)
        assert tokens % step == 0
        assert 1 <= tokens - int(batch.attention_mask.sum()) <= step
        assert len(filled.packing.lengths) == len(batch.start) + 1
        filled_loss, filled_found = plain(reader, [filled], config)
        torch.testing.assert_close(filled_loss, loss)
        torch.testing.assert_close(filled_found, found)


@pytest.mark.parametrize(
    ("device", "looks_at", "precision"),
    [
        (CPU, "first_token", "fp32"),
        (CPU, "first_token", "bf16"),
        pytest.param(GPU, "first_token", "fp32", marks=needs_gpu),
        pytest.param(GPU, "first_token", "bf16", marks=needs_gpu),
        # On the CPU it is computed by lengths that Python knows, which a graph would keep.
        pytest.param(GPU, "question", "fp32", marks=needs_gpu),
    ],
)
def test_gradients_are_those_of_the_plain_pass(
    device: torch.device,
    looks_at: AnswerabilityInput,
    precision: Precision,
    tiny_features: Features,
    recipe: TrainingConfig,
    roberta_folder: Any,
    request: pytest.FixtureRequest,
) -> None:
    if device == CPU:
        request.getfixturevalue("graphs_on_cpu")
    config = recipe.model_copy(update={"precision": precision})
    # bf16 has 8 significant bits, and rounds sums in an order of its own in each pass.
    tolerance = 1e-3 if precision == "fp32" else 3e-2
    reader = new_reader_of(roberta_folder, looks_at).to(device)
    pieces = [batch.to(device) for batch in batches_of(tiny_features, 5)]
    updates = [pieces[:2], pieces[2:4], pieces[4:], pieces[:2]]
    longest = int(tiny_features.window_tokens.max())
    graphed = GraphedGradients(
        reader, tokens=longest, precision=precision, processes=Processes.alone(device)
    )
    with torch.no_grad():
        for parameter in reader.parameters():
            # As by an update: graphs must read what the parameters are now.
            parameter.mul_(1.25)
    plain_reader = copy.deepcopy(reader)
    expected = [plain(plain_reader, update, config) for update in updates]
    for round_ in range(2):
        for update, (loss, found) in zip(updates, expected, strict=True):
            prepared = [graphed.prepare(_on_cpu(batch)) for batch in update]
            total = graphed.add_up(prepared, losses_of(graphed.read, config))
            torch.testing.assert_close(total, loss, rtol=tolerance / 10, atol=tolerance / 10)
            assert (gradients(reader) - found).norm() < tolerance * found.norm()
        if round_ == 0:
            graphed.forget()


def _on_cpu(batch: Batch) -> Batch:
    return batch.to(CPU)


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_seed_drops_the_same_values_whether_a_graph_is_recorded_or_not(
    tiny_features: Features, recipe: TrainingConfig, roberta_folder: Any, precision: str
) -> None:
    config = recipe.model_copy(update={"precision": precision, "max_grad_norm": 1.0})
    alone = Processes.alone(GPU)
    longest = int(tiny_features.window_tokens.max())
    runs = []
    for seeds in ((5, 6, 7, 5), (7, 5)):
        reader = new_reader_of(roberta_folder, "question", dropout=0.3).to(GPU)
        optimizer = build_optimizer(reader, config)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        graphed = GraphedGradients(
            reader, tokens=longest, precision=config.precision, processes=alone
        )
        scaler = LossScaler(config.loss_scale, enabled=precision == "fp16", device=GPU)
        batches = [graphed.prepare(batch) for batch in batches_of(tiny_features, 2)]
        found = []
        for seed in seeds:
            torch.manual_seed(seed)
            loss = train_step(
                reader, batches, optimizer, scaler, config, processes=alone, graphed=graphed
            )
            found.append((seed, loss.item()))
        runs.append(found)
    losses = [dict(found) for found in runs]
    assert runs[0][0] == runs[0][3]
    assert losses[1] == {seed: losses[0][seed] for seed in (7, 5)}
    assert len(set(losses[0].values())) == 3


def test_which_runs_take_graphs(
    tiny_features: Features, roberta_folder: Any, encoder_of: Any
) -> None:
    reader = new_reader_of(roberta_folder, "first_token")
    unpackable = new_reader_of(encoder_of("deberta-v2"), "first_token")
    alone, two = Processes.alone(GPU), Processes(0, 2, GPU)
    taught = replace(tiny_features, teacher=mock.Mock())
    assert takes_graphs(reader, tiny_features, alone, "fsdp")
    assert takes_graphs(reader, tiny_features, two, "ddp")
    assert not takes_graphs(reader, tiny_features, two, "fsdp")
    assert not takes_graphs(reader, tiny_features, Processes.alone(CPU), "ddp")
    assert not takes_graphs(unpackable, tiny_features, alone, "ddp")
    assert not takes_graphs(reader, taught, alone, "ddp")
