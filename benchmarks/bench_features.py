"""Features against the usual recipe's, and what they cost as the data grows.

The usual recipe is the question-answering example of transformers: every question is encoded
together with its passage (`truncation="only_second"`, 384 tokens, stride 128, overflowing tokens,
offsets), in `datasets.map(batched=True)`. Both sides begin with parsed JSON, end with a file on
disk, use RoBERTa's own tokenizer and as many threads as they do by default, and take turns in one
process. Growth is measured from the JSON file on, each size in a process of its own.

    python benchmarks/bench_features.py rates
    python benchmarks/bench_features.py growth
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from common import SHARED, header, peak_memory_mb, spread, take_turns, times_faster, write_enlarged

SAMPLE = SHARED / "squad/train-sample.json"
TOKENIZER = SHARED / "roberta-tokenizer"
SAMPLE_QUESTIONS = 3250
MAX_TOKENS, STRIDE = 384, 128


def prepare_train_features(examples: Any, tokenizer: Any, *, padded: bool) -> Any:
    """The recipe's, from its public description."""
    questions = [question.lstrip() for question in examples["question"]]
    tokenized = tokenizer(
        questions,
        examples["context"],
        truncation="only_second",
        max_length=MAX_TOKENS,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length" if padded else False,
    )
    example_of = tokenized.pop("overflow_to_sample_mapping")
    starts, ends = [], []
    for row, offsets in enumerate(tokenized.pop("offset_mapping")):
        input_ids, sequence_ids = tokenized["input_ids"][row], tokenized.sequence_ids(row)
        start, end = label(offsets, sequence_ids, examples["answers"][example_of[row]])
        nowhere = input_ids.index(tokenizer.cls_token_id) if start is None else 0
        starts.append(nowhere if start is None else start)
        ends.append(nowhere if end is None else end)
    tokenized["start_positions"] = starts
    tokenized["end_positions"] = ends
    return tokenized


def label(offsets: Any, sequence_ids: Any, answers: Any) -> tuple[int | None, int | None]:
    """First and last token of the answer in one window, or None."""
    if not answers["answer_start"]:
        return None, None
    start_char = answers["answer_start"][0]
    end_char = start_char + len(answers["text"][0])
    first = 0
    while sequence_ids[first] != 1:
        first += 1
    last = len(offsets) - 1
    while sequence_ids[last] != 1:
        last -= 1
    if not (offsets[first][0] <= start_char and offsets[last][1] >= end_char):
        return None, None
    while first < len(offsets) and offsets[first][0] <= start_char:
        first += 1
    while offsets[last][1] >= end_char:
        last -= 1
    return first - 1, last + 1


def examples_of(squad: Path) -> dict[str, list[Any]]:
    """Columns of a flat SQuAD, as the recipe has them."""
    columns: dict[str, list[Any]] = {"id": [], "question": [], "context": [], "answers": []}
    for article in json.loads(squad.read_bytes())["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                columns["id"].append(entry["id"])
                columns["question"].append(entry["question"])
                columns["context"].append(paragraph["context"])
                columns["answers"].append(
                    {
                        key: [answer[key] for answer in entry["answers"]]
                        for key in ("text", "answer_start")
                    }
                )
    return columns


def recipe_side(squad: Path, folder: Path, *, padded: bool) -> Callable[[], None]:
    """From parsed JSON to the file on disk."""
    from transformers import AutoTokenizer

    import datasets

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    examples = examples_of(squad)

    def build() -> None:
        dataset = datasets.Dataset.from_dict(examples)
        dataset.map(
            partial(prepare_train_features, tokenizer=tokenizer, padded=padded),
            batched=True,
            remove_columns=dataset.column_names,
            cache_file_name=str(folder / f"recipe-{padded}.arrow"),
            load_from_cache_file=False,
        )

    return build


def our_side(squad: Path, folder: Path, *, parsed: bool) -> Callable[[], None]:
    """From parsed JSON, or from the JSON file, to the file on disk."""
    import pyarrow as pa

    from roberta_squad_pipeline.features.build import build_features, build_features_in_pieces
    from roberta_squad_pipeline.features.config import WindowConfig
    from roberta_squad_pipeline.features.file import write_features
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
    from roberta_squad_pipeline.squad.dataset import Passage, read_passages, read_squad

    tokenizer = PassageTokenizer.load(str(TOKENIZER))
    windows = WindowConfig(
        order="passage_first", max_tokens=MAX_TOKENS, max_question_tokens=64, stride=STRIDE
    )
    build_piece = partial(
        build_features,
        tokenizer=tokenizer,
        windows=windows,
        source=str(squad),
        data_sha256="0" * 64,
    )
    held = read_squad(squad, on_misaligned="error").passages if parsed else ()

    def build() -> None:
        # Words that an earlier turn met are new again.
        vars(tokenizer).pop("_words", None)
        passages: Iterable[Passage] = held or read_passages(squad, on_misaligned="error")
        batches = build_features_in_pieces(passages, build_piece)
        with pa.OSFile(str(folder / f"ours-{parsed}.arrow"), "wb") as sink:
            write_features(batches, batches.schema, sink)

    return build


def counting(side: Callable[[], object], used: list[float]) -> Callable[[], None]:
    """Adds the processor time of all threads, which other work on the machine does not lengthen."""

    def run() -> None:
        began = time.process_time()
        side()
        used.append(time.process_time() - began)

    return run


def rates(repeats: int, times: int) -> None:
    """Prints examples per second of all sides and the ratios of their medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        squad = folder / "train.json"
        write_enlarged(SAMPLE, squad, times)
        sides = {
            "recipe, padded to 384 (its default)": recipe_side(squad, folder, padded=True),
            "recipe, not padded": recipe_side(squad, folder, padded=False),
            "ours, from parsed JSON": our_side(squad, folder, parsed=True),
            "ours, from the JSON file": our_side(squad, folder, parsed=False),
        }
        used: dict[str, list[float]] = {name: [] for name in sides}
        counted = {name: counting(side, used[name]) for name, side in sides.items()}
        seconds = take_turns(counted, repeats)
    questions = times * SAMPLE_QUESTIONS
    recipe = list(sides)[:2]
    print(f"{header('datasets', 'transformers', 'tokenizers', 'pyarrow', 'pydantic')}\n")
    print(f"{questions} questions, {repeats} turns.\n")
    print(
        "| side | examples/s | s: median (least to most) | times padded | times not padded "
        "| processor time, s | less than padded by | than not padded |"
    )
    print("| --- " * 8 + "|")
    times_faster(seconds, "ours, from the JSON file", recipe[0], stage="features")
    for side, taken in seconds.items():
        ratios, less = (
            " | ".join(f"{times_faster(spent, side, theirs):.2f}" for theirs in recipe)
            for spent in (seconds, used)
        )
        rate = questions / statistics.median(taken)
        cpu = statistics.median(used[side])
        print(f"| {side} | {rate:.0f} | {spread(taken)} | {ratios} | {cpu:.2f} | {less} |")


def grown(squad: Path, what: str) -> None:
    """One size, in this process: builds features through the node and its data set, or reads."""
    if what == "read":
        from roberta_squad_pipeline.squad.dataset import read_passages

        imported_mb = peak_memory_mb()
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in read_passages(squad, on_misaligned="error"):
            pass
    else:
        import torch  # noqa: F401 - a run of the pipeline has it in memory

        from roberta_squad_pipeline.datasets import FeaturesDataset
        from roberta_squad_pipeline.features.config import WindowConfig
        from roberta_squad_pipeline.pipelines.features.nodes import build_train_features
        from roberta_squad_pipeline.reader.config import ModelConfig
        from roberta_squad_pipeline.runs.parameters import DataConfig

        imported_mb = peak_memory_mb()
        began, began_cpu = time.perf_counter(), time.process_time()
        features = build_train_features(
            {"train": {"path": str(squad), "sha256": "0" * 64}},
            DataConfig(
                train=str(squad),
                dev=str(squad),
                validation="dev",
                sources={},
                folder=str(squad.parent),
                on_misaligned="error",
            ),
            WindowConfig(
                order="passage_first", max_tokens=MAX_TOKENS, max_question_tokens=64, stride=STRIDE
            ),
            ModelConfig(
                start=None,
                encoder=str(TOKENIZER),
                dropout=0.1,
                attention_dropout=0.1,
                answerability_input="first_token",
            ),
        )
        FeaturesDataset(filepath=str(squad.with_suffix(".arrow"))).save(features)
    told = {
        "s": time.perf_counter() - began,
        "cpu_s": time.process_time() - began_cpu,
        "mb": peak_memory_mb(),
        "imported_mb": imported_mb,
    }
    print(json.dumps(told))


def growth(sizes: list[int]) -> None:
    """Prints time and peak memory at every size, a process each."""
    print(f"{header('transformers', 'tokenizers', 'pyarrow', 'pydantic')}\n")
    print("| questions | file, MB | what | s | of both cores, s | peak memory, MB | imports, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for times in sizes:
        with tempfile.TemporaryDirectory() as name:
            squad = Path(name) / "train.json"
            write_enlarged(SAMPLE, squad, times)
            for what in ("read", "build"):
                command = [sys.executable, __file__, "grown", "--file", str(squad), "--what", what]
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(run.stdout.splitlines()[-1])
                print(
                    f"| {times * SAMPLE_QUESTIONS} | {squad.stat().st_size / 1e6:.0f} | {what} "
                    f"| {found['s']:.2f} | {found['cpu_s']:.2f} | {found['mb']:.0f} "
                    f"| {found['imported_mb']:.0f} |",
                    flush=True,
                )


def main() -> None:
    """Measures what it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["rates", "growth", "grown"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--times", type=int, default=4, help="the sample's size, for the rates")
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 400])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--what", choices=["read", "build"])
    arguments = parser.parse_args()
    if arguments.part == "rates":
        rates(arguments.repeats, arguments.times)
    elif arguments.part == "growth":
        growth(arguments.sizes)
    else:
        grown(arguments.file, arguments.what)


if __name__ == "__main__":
    main()
