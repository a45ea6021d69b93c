"""Processes that share an update on a GPU. Oracle: the same update in one process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pyarrow import RecordBatchReader
from torch import Tensor

from gpu_processes import DEVICE, new_reader, train, work
from roberta_squad_pipeline.datasets import FeaturesDataset
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.graphs import GraphedGradients
from roberta_squad_pipeline.training.loss import summed_loss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_two_processes_make_the_updates_of_one(
    precision: str,
    tiny_batch: Any,
    roberta_folder: Path,
    recipe: TrainingConfig,
    tmp_path: Path,
) -> None:
    """By graphs. Not fully sharded: for that gloo lacks what it needs on a GPU."""
    features = tmp_path / "features.arrow"
    batches = RecordBatchReader.from_batches(tiny_batch.schema, [tiny_batch])
    FeaturesDataset(filepath=str(features)).save(batches)
    changes = {"precision": precision, "max_grad_norm": 1.0, "updates": 8}
    job = {
        "encoder": str(roberta_folder),
        "features": str(features),
        "recipe": recipe.model_dump() | changes,
    }
    expected = train(Processes.alone(DEVICE), job)
    mp.spawn(work, (2, str(tmp_path), job), nprocs=2)  # type: ignore[no-untyped-call]
    found = json.loads((tmp_path / "losses.json").read_text())
    assert found == pytest.approx(expected, rel=1e-3 if precision == "fp32" else 3e-2)


class AddedUpByNccl(Processes):
    """One process whose sums are NCCL's all the same."""

    def sum(self, tensor: Tensor) -> None:
        dist.all_reduce(tensor)


def test_nccl_adds_up_what_graphs_wrote(
    tiny_features: Features, roberta_folder: Path, recipe: TrainingConfig, tmp_path: Path
) -> None:
    """A graph is recorded while NCCL's own thread is at work. One rank's sum is what it has."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("nccl", store=store, rank=0, world_size=1, device_id=DEVICE)
    try:
        found = []
        for processes in (Processes.alone(DEVICE), AddedUpByNccl.alone(DEVICE)):
            reader = new_reader(roberta_folder)
            graphed = GraphedGradients(
                reader,
                tokens=int(tiny_features.window_tokens.max()),
                precision="fp32",
                processes=processes,
            )

            def losses(batch: Any, graphed: GraphedGradients = graphed) -> tuple[Tensor, Tensor]:
                loss = summed_loss(graphed.read(batch), batch, recipe)
                return loss, loss

            for windows in ([0, 1, 2], [3, 4], [0, 1, 2]):
                batch = assemble(tiny_features, np.array(windows))
                graphed.add_up([graphed.prepare(batch)], losses)
            found.append(torch.cat([each.grad.flatten() for each in reader.parameters()]))
        assert found[0].norm() > 0
        torch.testing.assert_close(found[0], found[1])
    finally:
        dist.destroy_process_group()
