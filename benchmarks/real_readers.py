r"""Readers of real passages: this project beside Hugging Face's question-answering recipe.

Both sides train on the real sample of SQuAD 2.0 from the same encoder, with as many updates of as
many windows, and are scored on its other articles. Every run is a command of its own, whose result
is kept in `benchmarks/results/real_readers/`; `table` makes one report of all that are there.

    python benchmarks/real_readers.py encoders
    python benchmarks/real_readers.py recipe --encoder minilm --seed 1
    python benchmarks/real_readers.py here --encoder minilm --seed 1
    python benchmarks/real_readers.py table

What becomes of readers afterwards is kept likewise: an ensemble or soup of runs, and a student,
whose encoder is every second layer of MiniLM, alone and taught by the ensemble, and any of these
readers in 8 bits.

    python benchmarks/real_readers.py here --env own --name ensemble --pipeline ensemble \
        --set 'ensemble.members=[real_here_minilm_645_seed1,real_here_minilm_645_seed2]'
    python benchmarks/real_readers.py here --env own --name student --encoder minilm_half
    python benchmarks/real_readers.py here --env own --name taught --encoder minilm_half \
        --pipeline distil --set distil.teacher=data/06_models/real_ensemble_minilm_645_seed1

    python benchmarks/real_readers.py int8 --name taught --encoder minilm_half

A run of the recipe that was killed goes on when its command is given again. With `--fold K` a run
learns from two thirds of the training articles and is scored on the others: this is how settings
are chosen.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from real_runs import (
    FOLD_COUNT,
    ROOT,
    UNFINISHED,
    Answered,
    Split,
    data_record,
    encoder_folder,
    joined,
    keep,
    read_sample,
    sample_split,
    scores,
    surroundings,
)

from roberta_squad_pipeline.squad.dataset import SquadDataset

UPDATES = {"minilm": 645, "minilm_half": 645, "mpnet": 215}
"""By encoder. The largest one has as many as fit into a day on two cores."""
WARMUP = 0.06
"""Share of the updates."""
LR = 1e-4
LOOKS = 5
"""How often a run is scored while it trains."""
HERE = {
    "features.max_tokens": 384,
    "features.max_question_tokens": 64,
    "features.stride": 128,
    "training.batch_size": 16,
    "training.micro_batch": 16,
    "training.layer_decay": 1.0,
    "model.dropout": 0.1,
    "model.attention_dropout": 0.1,
}
"""This project's parameters where no environment says them: the recipe's."""


def main() -> None:
    """Does what the command line says."""
    options = _parser().parse_args()
    if options.command in {"recipe", "here", "int8"}:
        options.name = options.name or options.command
        options.updates = options.updates or UPDATES[options.encoder]
        if options.env is None:
            _use_recipe_settings(options)
    if options.command == "recipe":
        run_recipe(options)
    elif options.command == "here":
        run_here(options)
    elif options.command == "int8":
        run_int8(options)
    elif options.command == "encoders":
        from real_encoders import fetch_encoders

        fetch_encoders()
    else:
        from real_table import write_table

        write_table()


def _use_recipe_settings(options: argparse.Namespace) -> None:
    """Fills in what was not given and no environment says."""
    if options.warmup_updates is None:
        options.warmup_updates = round(WARMUP * options.updates)
    options.lr = options.lr or LR
    options.precision = options.precision or "fp32"


def run_recipe(options: argparse.Namespace) -> None:
    """One run of the recipe, kept."""
    _limit_threads(os.environ, options.threads)
    import torch
    from run_qa_recipe import RecipeSettings, train_and_answer

    torch.set_num_threads(options.threads)
    result, split = _begun(options)
    gpu_memory = GpuMemory()
    dev = read_sample(split.dev)
    settings = RecipeSettings(
        updates=options.updates,
        warmup_updates=options.warmup_updates,
        lr=options.lr,
        seed=options.seed,
        precision=options.precision,
        score_every=-(-options.updates // LOOKS),
    )
    checkpoints = UNFINISHED / _file_name(options)
    run = train_and_answer(
        encoder_folder(options.encoder),
        read_sample(split.train),
        dev,
        settings,
        checkpoints=checkpoints,
        score=lambda answered: scores(dev, answered),
    )
    result |= {
        "settings": {
            "warmup_updates": options.warmup_updates,
            "lr": options.lr,
            "precision": options.precision,
        },
        "windows": run.windows,
        "training_seconds": run.training_seconds,
        "peak_memory_mb": _peak_memory_mb(resource.RUSAGE_SELF),
        "peak_gpu_mb": gpu_memory.peak_mb(),
        "curve": run.curve,
        "scores": scores(dev, run.answered),
    }
    _finish(options, result, dev, run.answered)
    shutil.rmtree(checkpoints)


def run_here(options: argparse.Namespace) -> None:
    """One run of this project through its command line, kept."""
    result, split = _begun(options)
    gpu_memory = GpuMemory()
    changed: dict[str, Any] = dict(HERE) if options.env is None else {}
    given = {
        "training.warmup_updates": options.warmup_updates,
        "training.lr": options.lr,
        "training.precision": options.precision,
    }
    changed |= {name: value for name, value in given.items() if value is not None}
    run = f"real_{_file_name(options)}"
    parameters = {
        "run": run,
        "tracking.experiment": "real_readers",
        "data.train": split.train,
        "data.dev": split.dev,
        "model.encoder": encoder_folder(options.encoder),
    }
    trains = options.pipeline != "ensemble"
    if trains:
        parameters |= {
            "training.updates": options.updates,
            "training.seed": options.seed,
            "training.evaluate_every": -(-options.updates // LOOKS),
            "training.resume": "never",  # or its seconds would be those of a part
            **changed,
        }
    parameters |= dict(change.split("=", 1) for change in options.set)
    training_seconds = _kedro_run(options, parameters)
    settings = _settings(run)
    columns = {"id": "id", "head_logit": "head", "span_logit": "span"}
    nbest = pd.read_parquet(
        ROOT / "data/07_model_output" / run / "nbest.parquet", columns=list(columns)
    )
    answered = Answered(
        _read_json("07_model_output", run, "predictions.json"),
        _read_json("07_model_output", run, "null_odds.json"),
        nbest.rename(columns=columns).set_index("id").to_dict("index"),
        null_score=settings["inference"]["null_score"],
    )
    dev = read_sample(split.dev)
    result |= {
        "env": options.env,
        "pipeline": options.pipeline,
        "changes": options.set,
        "patch": options.patch and options.patch.read_text(),
        "settings": settings,
        "training_seconds": training_seconds,
        "peak_memory_mb": _peak_memory_mb(resource.RUSAGE_CHILDREN),
        "peak_gpu_mb": gpu_memory.peak_mb(),
        "reader_bytes": sum(
            file.stat().st_size for file in (ROOT / "data/06_models" / run).rglob("*.safetensors")
        ),
        "curve": _validation_curve(run) if trains else [],
        "scores": scores(dev, answered),
    }
    _finish(options, result, dev, answered)


def run_int8(options: argparse.Namespace) -> None:
    """Exports the reader of one of this project's runs in 8 bits, and keeps what it answers.

    On the CPU, whatever the reader was trained on.
    """
    _limit_threads(os.environ, options.threads)
    import torch

    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.inference.prediction import predict
    from roberta_squad_pipeline.reader.storage import load_reader

    result, split = _begun(options)
    result |= {"name": f"{options.name}_int8", "device": "cpu"}
    run = f"real_{_file_name(options)}"
    parameters = {
        "run": run,
        "data.train": split.train,
        "data.dev": split.dev,
        "model.encoder": encoder_folder(options.encoder),
        "export.int8": "true",
    }
    _kedro_run(options, parameters)
    folder = ROOT / "data/06_models" / run / "onnx"
    trained = load_reader(folder)
    features = Features.open(ROOT / "data/04_feature" / run / "dev.arrow")
    config = trained.inference.model_copy(update={"precision": "fp32"})
    device = torch.device("cpu")
    began = time.perf_counter()
    predictions = list(
        predict(trained.reader, features, config, device=device, on_windows=lambda _: None)
    )
    seconds = time.perf_counter() - began
    ids = [one.question_id for one in predictions]
    odds = trained.no_answer_weights.scores(
        [one.no_answer_logit for one in predictions],
        [one.span_no_answer_logit for one in predictions],
    )
    answered = Answered(
        {one.question_id: one.candidates[0].text for one in predictions},
        dict(zip(ids, odds.tolist(), strict=True)),
        {
            one.question_id: {"head": one.no_answer_logit, "span": one.span_no_answer_logit}
            for one in predictions
        },
        null_score=trained.inference.null_score,
    )
    dev = read_sample(split.dev)
    result |= {
        "settings": _settings(run),
        "export": json.loads((folder / "export.json").read_bytes()),
        "reader_bytes": (folder / "model.onnx").stat().st_size,
        "questions_per_second": len(ids) / seconds,
        "curve": [],
        "scores": scores(dev, answered),
    }
    options.name = result["name"]
    _finish(options, result, dev, answered)


def _settings(run: str) -> dict[str, Any]:
    """All that a run's reader was made with, whether it was given or is the configuration's."""
    reader = _read_json("06_models", run, "reader.json")
    recipe = {
        stage: {name: value for name, value in made_with.items() if name != "encoder"}
        for stage, made_with in reader["recipe"].items()
        if stage in {"model", "training", "ensemble", "soup"}
    }
    return recipe | {"features": reader["windows"], "inference": reader["inference"]}


def _validation_curve(run: str) -> list[dict[str, float]]:
    """A run's scores while it was trained, as the recipe's are kept."""
    columns = _read_json("08_reporting", run, "training_curve.json")["validation"]
    names = {"no_answer_auc": "auc"}
    rows = zip(*columns.values(), strict=True)
    return [
        dict(zip((names.get(name, name) for name in columns), row, strict=True)) for row in rows
    ]


def _read_json(*place: str) -> Any:
    return json.loads((ROOT / "data").joinpath(*place).read_bytes())


def _kedro_run(options: argparse.Namespace, parameters: dict[str, Any]) -> float:
    """Runs a pipeline, and returns the seconds that training took; 0 without any.

    Raises:
        SystemExit: The run failed.
    """
    pairs = ",".join(f"{name}={value}" for name, value in parameters.items())
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", options.pipeline]
    command += ["--params", pairs]
    if options.env:
        command += ["--env", options.env]
    environment = dict(os.environ, COLUMNS="200")  # no line of the log is broken
    _limit_threads(environment, options.threads)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        seconds = _seconds_of_training(child.stdout)
    if child.returncode:
        raise SystemExit(f"kedro run ended with exit status {child.returncode}")
    return seconds


def _seconds_of_training(lines: Iterator[str]) -> float:
    """Passes a run's log on, and takes the time of its training node, without evaluations.

    Raises:
        SystemExit: The log does not tell when that ended.
    """
    began = ended = None
    evaluating = 0.0
    for line in lines:
        print(line, end="", flush=True)
        if node := re.search(r"INFO +node (\S+)", line):
            if node[1] == "train.train_reader":
                began = time.perf_counter()
            elif began is not None and ended is None:
                ended = time.perf_counter()
        if evaluated := re.search(r"validation after update .* seconds ([\d.e+]+)", line):
            evaluating += float(evaluated[1])
    if began is None:
        return 0.0
    if ended is None:
        raise SystemExit("the log of kedro run does not tell when its training ended")
    return ended - began - evaluating


def _begun(options: argparse.Namespace) -> tuple[dict[str, Any], Split]:
    split = joined(sample_split(options.fold), options.documents)
    result = {
        "name": options.name,
        "side": options.command,
        "encoder": options.encoder,
        "updates": options.updates,
        "seed": options.seed,
        "fold": options.fold,
        "documents": options.documents,
        "threads": options.threads,
        "alone": options.alone,
        "data": data_record(split),
        **surroundings(),
    }
    return result, split


def _finish(
    options: argparse.Namespace, result: dict[str, Any], dev: SquadDataset, answered: Answered
) -> None:
    path = keep(_file_name(options), result, dev, answered)
    print(json.dumps(result["scores"], indent=1))
    print(path)


def _file_name(options: argparse.Namespace) -> str:
    fold = "" if options.fold is None else f"_fold{options.fold}"
    return f"{options.name}_{options.encoder}_{options.updates}_seed{options.seed}{fold}"


def _peak_memory_mb(who: int) -> float:
    """The most memory of one process at once."""
    return resource.getrusage(who).ru_maxrss * 1024 / 1e6  # Linux counts in KiB


class GpuMemory:
    """The most memory in use on the GPU, looked at every half second; None without a GPU."""

    def __init__(self) -> None:
        self._least = self._most = _gpu_memory_mb()
        if self._most is not None:
            threading.Thread(target=self._look, daemon=True).start()

    def peak_mb(self) -> float | None:
        """Since this was made, beyond what was in use then."""
        if self._most is None or self._least is None:
            return None
        return self._most - self._least

    def _look(self) -> None:
        while True:
            time.sleep(0.5)
            self._most = max(self._most or 0.0, _gpu_memory_mb() or 0.0)


def _gpu_memory_mb() -> float | None:
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout) * 2**20 / 1e6 if done.returncode == 0 else None


def _limit_threads(environment: Any, threads: int) -> None:
    """Before torch is imported; its threads would wait for each other in a busy loop."""
    environment["OMP_NUM_THREADS"] = str(threads)
    environment["OMP_WAIT_POLICY"] = "PASSIVE"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("encoders", help="fetch the encoders from the package index")
    commands.add_parser("table", help="make one report of all kept runs")
    recipe = commands.add_parser("recipe", help="train by Hugging Face's recipe")
    recipe.set_defaults(env=None)
    here = commands.add_parser("here", help="train by `kedro run`")
    here.add_argument(
        "--env", help="configuration environment, which then says what is not given here"
    )
    here.add_argument(
        "--pipeline", choices=["__default__", "distil", "ensemble"], default="__default__"
    )
    here.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one more parameter"
    )
    here.add_argument(
        "--patch", type=Path, help="of the code, already applied, to be kept with the result"
    )
    int8 = commands.add_parser("int8", help="export the reader of a kept run of `here` in 8 bits")
    int8.set_defaults(env="own", pipeline="download,features,export_onnx")
    for side in (recipe, here, int8):
        side.add_argument(
            "--alone",
            action="store_true",
            help="nothing else runs meanwhile, so that time and memory say something",
        )
        side.add_argument("--name", help="of the result; the side's unless given")
        side.add_argument("--encoder", choices=UPDATES, default="minilm")
        side.add_argument("--seed", type=int, default=1)
        side.add_argument("--updates", type=int, help="of 16 windows each; the encoder's usual")
        side.add_argument("--warmup-updates", type=int, help="6 %% of the updates unless given")
        side.add_argument("--lr", type=float, help=f"{LR} unless given")
        side.add_argument("--precision", choices=["fp32", "bf16", "fp16"], help="fp32 unless given")
        side.add_argument("--fold", type=int, choices=range(FOLD_COUNT))
        side.add_argument(
            "--documents",
            choices=["train", "dev"],
            action="extend",
            nargs="+",
            default=[],
            help="files whose passages are joined into longer ones",
        )
        side.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser


if __name__ == "__main__":
    main()
