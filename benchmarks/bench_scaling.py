"""What each stage costs as the work grows: time and memory at 1, 4, 16 and 64 times the sample.

Every stage at every size runs in a process of its own, on one layer of random weights with
RoBERTa's vocabulary, so that what grows is everything but the model. Time is processor time of all
threads together, which other work on the machine does not lengthen. Prints a Markdown table and
draws a figure.

    python benchmarks/bench_scaling.py --figure benchmarks/results/scaling.png
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import SHARED, header, peak_memory_mb, write_enlarged

SAMPLES = {
    split: (SHARED / f"squad/{split}-sample.json", questions)
    for split, questions in (("train", 3250), ("dev", 815))
}
WINDOWS = {"order": "passage_first", "max_tokens": 384, "max_question_tokens": 64, "stride": 128}
UPDATES = 12
TITLES = {
    "features": "features of the training questions",
    "start": "training, to the end of the first update",
    "update": "training, one update of 48 windows",
    "inference": "inference on the dev questions",
    "search": "of it the span search",
    "evaluate": "scoring, cross-fitting and calibration",
}

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
"""So that no processor time is spent on waiting for other threads."""

Measured = dict[str, float]
"""Seconds of processor time by title."""


def save_encoder(folder: Path) -> None:
    """A RoBERTa of one layer of 32 with random weights, and RoBERTa's own tokenizer."""
    import torch
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    tokenizer = AutoTokenizer.from_pretrained(SHARED / "roberta-tokenizer")
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    torch.manual_seed(1)
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def files_and_data(folder: Path) -> tuple[Any, Any]:
    """What nodes are told of the SQuAD files."""
    from roberta_squad_pipeline.runs.parameters import DataConfig

    files = {name: {"path": str(folder / f"{name}.json"), "sha256": "0" * 64} for name in SAMPLES}
    data = DataConfig(
        train="train",
        dev="dev",
        validation="dev",
        sources={},
        folder=str(folder),
        on_misaligned="error",
    )
    return files, data


def model_config(folder: Path) -> Any:
    """The small encoder without dropout."""
    from roberta_squad_pipeline.reader.config import ModelConfig

    return ModelConfig(
        start=None,
        encoder=str(folder / "encoder"),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )


def inference_config() -> Any:
    """The recipe's."""
    from roberta_squad_pipeline.reader.config import InferenceConfig

    return InferenceConfig(
        batch_windows=64, precision="fp32", max_answer_tokens=30, n_best=20, null_score="best_span"
    )


def features(folder: Path) -> Measured:
    """Builds the training features; those of the dev questions, too, but untimed."""
    from roberta_squad_pipeline.datasets import FeaturesDataset
    from roberta_squad_pipeline.features.config import WindowConfig
    from roberta_squad_pipeline.pipelines.features.nodes import (
        build_dev_features,
        build_train_features,
    )

    files, data = files_and_data(folder)
    arguments = files, data, WindowConfig(**WINDOWS), model_config(folder)

    def build(split: str, node: Callable[..., Any]) -> None:
        FeaturesDataset(filepath=str(folder / f"{split}.arrow")).save(node(*arguments))

    build("dev", build_dev_features)
    began = time.process_time()
    build("train", build_train_features)
    return {"features": time.process_time() - began}


def training(folder: Path) -> Measured:
    """Opens features, makes a reader, and trains it for a few updates."""
    import torch

    from roberta_squad_pipeline.distributed.processes import Processes
    from roberta_squad_pipeline.distributed.stopping import StopRequest
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.training.config import LossScaleConfig, TrainingConfig
    from roberta_squad_pipeline.training.job import first_reader
    from roberta_squad_pipeline.training.loop import fit_reader

    config = TrainingConfig(
        updates=UPDATES,
        warmup_updates=2,
        batch_size=48,
        micro_batch=12,
        lr=1e-4,
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
        checkpoint_every=UPDATES,
        resume="never",
        evaluate_every=None,
        keep="last",
        patience=None,
    )
    ends = []
    began = time.process_time()
    opened = Features.open(folder / "train.arrow")
    fit_reader(
        first_reader(opened, model_config(folder), config, None).reader,
        opened,
        config,
        validation=None,
        processes=Processes.alone(torch.device("cpu")),
        strategy="ddp",
        checkpoints=None,
        stop=StopRequest(),
        on_record=lambda _: ends.append(time.process_time()),
    )
    updates = [after - before for before, after in pairwise(ends)]
    return {"start": ends[0] - began, "update": statistics.median(updates)}


def inference(folder: Path) -> Measured:
    """Answers the dev questions and leaves what an evaluation needs."""
    from unittest import mock

    import torch

    from roberta_squad_pipeline.datasets import ArrowTableDataset
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.inference import prediction
    from roberta_squad_pipeline.inference.predicted import collect
    from roberta_squad_pipeline.reader.model import new_reader

    searching = []
    search = prediction.best_spans

    def timed_search(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        found = search(*args, **kwargs)
        searching.append(time.process_time() - began)
        return found

    began = time.process_time()
    opened = Features.open(folder / "dev.arrow")
    reader = new_reader(model_config(folder), max_tokens=WINDOWS["max_tokens"], vocabulary=1)
    with mock.patch.object(prediction, "best_spans", timed_search):
        found = collect(
            prediction.predict(
                reader,
                opened,
                inference_config(),
                device=torch.device("cpu"),
                on_windows=lambda _: None,
            )
        )
    seconds = time.process_time() - began
    ArrowTableDataset(filepath=str(folder / "nbest.parquet")).save(found)
    return {"inference": seconds, "search": sum(searching)}


def evaluate(folder: Path) -> Measured:
    """Scores the predictions as the evaluate pipeline's nodes do."""
    from unittest.mock import Mock

    from roberta_squad_pipeline.datasets import ArrowTableDataset
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.pipelines.evaluate import nodes
    from roberta_squad_pipeline.reader.evaluation import AnsweredWith, features_sha256

    nbest = ArrowTableDataset(filepath=str(folder / "nbest.parquet")).load()
    files, data = files_and_data(folder)
    features = Features.open(folder / "dev.arrow")
    began = time.process_time()
    config = inference_config()
    answered_with = AnsweredWith(
        **config.model_dump(), features_sha256=features_sha256(features)
    ).model_dump()
    nodes.score_predictions(
        *(files, data, config, answered_with, "bench", None, False),
        *(nbest, features, None, None, Mock()),
    )
    return {"evaluate": time.process_time() - began}


STAGES: tuple[Callable[[Path], Measured], ...] = (features, training, inference, evaluate)


def measure(times: int) -> dict[str, tuple[float, float]]:
    """Processor seconds and peak memory in MB of every stage at one size, a process each."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, (sample, _) in SAMPLES.items():
            write_enlarged(sample, folder / f"{split}.json", times)
        save_encoder(folder / "encoder")
        for stage in STAGES:
            command = [sys.executable, __file__, "--stage", stage.__name__, "--folder", name]
            run = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=ONE_THREAD
            )
            told = json.loads(run.stdout.splitlines()[-1])
            found |= {title: (seconds, told["mb"]) for title, seconds in told["s"].items()}
    return found


def table(sizes: list[int], found: list[dict[str, tuple[float, float]]]) -> str:
    """A row per stage, and how it grows: time as a power of the size, memory by which factor."""
    heads = [f"{size} times: s, MB" for size in sizes]
    lines = [
        f"| stage | {' | '.join(heads)} | time grows as size to the | memory, last to first |",
        "| --- " * (len(sizes) + 3) + "|",
    ]
    for stage, title in TITLES.items():
        cells = [f"{seconds:.3f}, {mb:.0f}" for seconds, mb in (one[stage] for one in found)]
        (first_s, first_mb), (last_s, last_mb) = found[0][stage], found[-1][stage]
        power = math.log(last_s / first_s) / math.log(sizes[-1] / sizes[0])
        lines.append(f"| {title} | {' | '.join(cells)} | {power:.2f} | {last_mb / first_mb:.2f} |")
    return "\n".join(lines)


def draw(sizes: list[int], found: list[dict[str, tuple[float, float]]], path: Path) -> None:
    """Time, on a logarithmic axis, and memory over size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    drawn = ((0, "processor time, s", "log"), (1, "peak memory, MB", "linear"))
    for axis, (what, label, scale) in zip(axes, drawn, strict=True):
        for stage, title in TITLES.items():
            axis.plot(sizes, [one[stage][what] for one in found], marker="o", label=title)
        axis.set(xscale="log", yscale=scale, xlabel="times the sample", ylabel=label)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Measures all stages at all sizes, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--stage", choices=[stage.__name__ for stage in STAGES])
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.stage:
        stage = next(stage for stage in STAGES if stage.__name__ == arguments.stage)
        print(json.dumps({"s": stage(arguments.folder), "mb": peak_memory_mb()}))
        return
    found = [measure(size) for size in arguments.sizes]
    print(f"{header('torch', 'transformers', 'tokenizers', 'pyarrow')}\n")
    print(table(arguments.sizes, found))
    if arguments.figure:
        draw(arguments.sizes, found, arguments.figure)


if __name__ == "__main__":
    main()
