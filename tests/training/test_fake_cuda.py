"""An update and a batch of inference of every family on a GPU that is not there.

The backward pass is torch's own there, and left out.

Oracle: torch's fake tensors, which have device, number format and shape but no values: an operation
that mixes devices or formats fails as on a GPU, and so does one that asks for a value, for which
the host would wait.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import Batch, assemble
from roberta_squad_pipeline.reader.config import ModelConfig, Precision
from roberta_squad_pipeline.reader.device import reading_in
from roberta_squad_pipeline.reader.model import ReaderModel, new_reader
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.learning_rates import build_optimizer
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.step import train_step

GPU = torch.device("cuda", 0)
HOPPER, VOLTA = (9, 0), (7, 0)
"""Compute capabilities of GPUs with and without flash attention."""
CUDA, META = 1, 14
"""Places in c10's list of devices."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="for Linux without a GPU"
)


@pytest.fixture
def reader(family_folder: Path, family_features: Features) -> ReaderModel:
    config = ModelConfig(
        start=None,
        encoder=str(family_folder),
        dropout=0.1,
        attention_dropout=0.1,
        answerability_input="first_token",
    )
    entries = family_features.meta.tokenizer.entries
    return new_reader(config, max_tokens=64, vocabulary=entries)


@contextmanager
def fake_gpu(module: nn.Module, capability: tuple[int, int] = HOPPER) -> Iterator[None]:
    """What is made inside has no values; a module's weights are on the GPU from now on."""
    with (
        _device_guard(),
        FakeTensorMode(shape_env=ShapeEnv(allow_scalar_outputs=False)),
        mock.patch.object(FakeTensorMode, "avoid_device_init", new=True),
        mock.patch("torch.nn.functional.scaled_dot_product_attention", attended),
        mock.patch("torch.cuda.is_available", return_value=True),
        mock.patch("torch.cuda.is_bf16_supported", return_value=True),
        mock.patch("torch.cuda.get_device_capability", return_value=capability),
        # Fake tensors know no pinned memory.
        mock.patch.object(torch.Tensor, "pin_memory", lambda tensor: tensor),
    ):
        for part in module.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(torch.empty(weight.shape, device=GPU)))
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=GPU))
        yield


def attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> torch.Tensor:
    """Instead of the kernels, of which fake tensors know none for windows of unequal length."""
    assert query.device == key.device == value.device
    assert query.dtype == key.dtype == value.dtype
    return query * key.sum() * value


@contextmanager
def _device_guard() -> Iterator[None]:
    """Gives a build without CUDA what indexing asks for: a guard that does nothing, as meta's."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (META + 1)).in_dll(
        library, "_ZN3c104impl26device_guard_impl_registryE"
    )
    before, guards[CUDA] = guards[CUDA], guards[CUDA] or guards[META]
    yield
    guards[CUDA] = before


def gradients(loss: torch.Tensor, reader: ReaderModel) -> None:
    """Instead of the backward pass, for which a build without CUDA has no streams."""
    assert loss.requires_grad
    for weight in reader.parameters():
        weight.grad = torch.empty_like(weight)


def batches_of(features: Features) -> list[Batch]:
    windows = np.arange(len(features.windows.question))
    return [assemble(features, piece) for piece in np.array_split(windows, 2)]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_an_update_runs_there_and_waits_for_nothing(
    reader: ReaderModel, family_features: Features, recipe: TrainingConfig, precision: Precision
) -> None:
    changed = {"precision": precision, "max_grad_norm": 1.0, "plausible_weight": 1.0}
    config = recipe.model_copy(update=changed)
    with (
        fake_gpu(reader.train()),
        mock.patch.object(torch.Tensor, "backward", lambda loss: gradients(loss, reader)),
    ):
        optimizer = build_optimizer(reader, config)
        scaler = LossScaler(config.loss_scale, enabled=precision == "fp16", device=GPU)
        loss = train_step(
            reader,
            batches_of(family_features),
            optimizer,
            scaler,
            config,
            processes=Processes.alone(GPU),
        )
        assert (loss.device, loss.dtype) == (GPU, torch.float32)
        # What would have waited for the device.
        with pytest.raises(DataDependentOutputException):
            loss.item()


@pytest.mark.parametrize("capability", [HOPPER, VOLTA])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_batch_is_read_there(
    reader: ReaderModel,
    family_features: Features,
    precision: Precision,
    capability: tuple[int, int],
) -> None:
    with fake_gpu(reader.eval(), capability), torch.no_grad(), reading_in(precision, GPU):
        batch = batches_of(family_features)[0]
        output = reader(batch.to(GPU))
    shape = tuple(batch.input_ids.shape)
    for logits, expected in zip(output, (shape, shape, shape[:1]), strict=True):
        assert (logits.device, logits.dtype) == (GPU, torch.float32)
        assert tuple(logits.shape) == expected
