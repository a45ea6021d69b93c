"""How near training comes to what a device can do: its rate of plain bf16 matrix products."""

import statistics
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from readers import random_encoder, training_config

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import (
    Batch,
    assemble,
    micro_batches,
    split_update,
    update_windows,
)
from roberta_squad_pipeline.reader.lanes import Lanes, even_lane_count
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.graphs import GraphedGradients, takes_graphs
from roberta_squad_pipeline.training.learning_rates import build_optimizer
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.step import lane_readers, train_step, train_step_in_lanes
from roberta_squad_pipeline.training.strategy import compile_layers


@dataclass(frozen=True)
class Rate:
    """How fast updates were made."""

    seconds: float
    """Of an update, the median."""
    least: float
    greatest: float
    tokens: float
    """Of an update, the mean."""
    flop: float
    """Floating-point operations of an update's matrix products, the mean."""


def wait_for(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(device: torch.device, sizes: tuple[int, ...]) -> float:
    """Floating-point operations a second of a square bf16 matrix product, at its best size."""
    rates = []
    for size in sizes:
        left, right = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
        seconds = []
        for _ in range(12):
            wait_for(device)
            began = time.perf_counter()
            torch.mm(left, right)
            wait_for(device)
            seconds.append(time.perf_counter() - began)
        rates.append(2 * size**3 / statistics.median(seconds[2:]))
    return max(rates)


def update_flop(shape: Mapping[str, int], lengths: list[int]) -> float:
    """Operations of the products of one update, forward and twice that backward.

    Every token meets each of the layers' weights once, 12 · hidden² a layer, and, in attention's
    two products, every token of its window.
    """
    hidden, layers = shape["hidden"], shape["layers"]
    forward = 0.0
    for length in lengths:
        forward += layers * (2 * 12 * hidden**2 * length + 4 * hidden * length**2)
    return 3 * forward


class Updates:
    """Updates of one reader on one device, as the training loop makes them."""

    def __init__(
        self,
        shape: Mapping[str, int],
        features: Features,
        device: torch.device,
        *,
        dropout: float,
        micro_batch: int,
        batch_size: int = 48,
        compiled: bool = False,
        graphed: bool = True,
        one_lane: bool = False,
    ) -> None:
        self.shape, self.features, self.device = shape, features, device
        self.config = training_config(micro_batch=micro_batch, batch_size=batch_size)
        self.reader = (
            ReaderModel(random_encoder(shape, dropout), dropout, "first_token").to(device).train()
        )
        if compiled:
            compile_layers(self.reader, device)
        self.optimizer = build_optimizer(self.reader, self.config)
        self.lanes = Lanes(1 if one_lane else even_lane_count(device, batch_size)).__enter__()
        self.readers = lane_readers(self.reader, self.lanes.count) if device.type == "cpu" else []
        self.scaler = LossScaler(self.config.loss_scale, enabled=False, device=device)
        self.tokens = features.window_tokens
        self.made = 0
        alone = Processes.alone(device)
        self.graphed = None
        if graphed and takes_graphs(self.reader, features, alone, "ddp"):
            most = int(self.tokens.max())
            self.graphed = GraphedGradients(
                self.reader, tokens=most, precision=self.config.precision, processes=alone
            )

    def batches(self) -> list[list[Batch]]:
        """The next update's micro-batches, by lane."""
        self.made += 1
        size = self.config.batch_size
        drawn = update_windows(len(self.tokens), size, self.config.seed, self.made)
        split = split_update(size, 1, self.config.micro_batch, self.lanes.count)
        prepare = self.graphed.prepare if self.graphed else lambda batch: batch.to(self.device)
        shares = [
            micro_batches(drawn, self.tokens, split, lane) for lane in range(self.lanes.count)
        ]
        return [[prepare(assemble(self.features, piece)) for piece in share] for share in shares]

    def make(self, batches: list[list[Batch]]) -> torch.Tensor:
        """One update; the device may still be at work when it returns."""
        if self.readers:
            seeds = range(self.made, self.made + self.lanes.count)
            return train_step_in_lanes(
                self.reader,
                self.readers,
                batches,
                self.optimizer,
                self.config,
                lanes=self.lanes,
                seeds=seeds,
            )
        return train_step(
            self.reader,
            batches[0],
            self.optimizer,
            self.scaler,
            self.config,
            processes=Processes.alone(self.device),
            graphed=self.graphed,
        )

    def measure(self, updates: int, warm_up: int = 2) -> Rate:
        """Times updates, each from the loss of the one before to its own.

        As in the training loop, the next one's batches are assembled while the device works, and
        by graphs it has the next update before it is asked for the loss.
        """
        seconds, lengths = [], []
        batches = self.batches()
        waiting: deque[tuple[torch.Tensor, list[int]]] = deque()
        began = time.perf_counter()
        while len(seconds) < warm_up + updates:
            of_update = [
                length for share in batches for batch in share for length in batch.packing.lengths
            ]
            waiting.append((self.make(batches), of_update))
            batches = self.batches()
            if len(waiting) > (self.graphed is not None):
                loss, of_update = waiting.popleft()
                loss.item()
                seconds.append(time.perf_counter() - began)
                began += seconds[-1]
                lengths.append(of_update)
        seconds, lengths = seconds[warm_up:], lengths[warm_up:]
        return Rate(
            statistics.median(seconds),
            min(seconds),
            max(seconds),
            statistics.mean(map(sum, lengths)),
            statistics.mean(update_flop(self.shape, of_update) for of_update in lengths),
        )
