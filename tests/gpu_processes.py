"""Training on one GPU, alone or as one of several processes."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader, load_encoder_config
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.loop import fit_reader
from roberta_squad_pipeline.training.records import Record

DEVICE = torch.device("cuda", 0)


def new_reader(folder: Path) -> ReaderModel:
    config = load_encoder_config(str(folder))
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    torch.manual_seed(0)
    return empty_reader(config, 0.0, "first_token").to(DEVICE).train()


def train(processes: Processes, job: dict[str, Any]) -> list[float]:
    """The losses of a few updates."""
    losses: list[float] = []

    def on_record(record: Record) -> None:
        losses.append(record.loss)

    assert fit_reader(
        new_reader(Path(job["encoder"])),
        Features.open(Path(job["features"])),
        TrainingConfig.model_validate(job["recipe"]),
        validation=None,
        processes=processes,
        strategy="ddp",
        checkpoints=None,
        stop=StopRequest(),
        on_record=on_record,
    )
    return losses


def work(rank: int, count: int, folder: str, job: dict[str, Any]) -> None:
    """One of several processes on the same GPU, where gloo adds up: NCCL wants one for each."""
    torch.cuda.set_device(DEVICE)
    store = dist.FileStore(f"{folder}/store", count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
    losses = train(Processes(rank, count, DEVICE, dist.new_group(backend="gloo")), job)
    if rank == 0:
        Path(folder, "losses.json").write_text(json.dumps(losses))
    dist.destroy_process_group()
