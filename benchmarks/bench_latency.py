"""How long one waits for answers on a CPU: from `Reader`, and from the usual recipe in onnxruntime.

A question on a passage, ten on one passage, and one on a passage of 70,000 characters, all of the
real dev sample, from the texts to the answers: by `Reader` in torch and in onnxruntime (fp32,
int8), and by the usual recipe (pairs of texts, windows padded to the longest of a batch) with the
same reader as transformers' question-answering model in onnxruntime. The int8 model is made without
regard to what it costs in F1. Prints a Markdown table. The reader has to begin its windows with the
question.

    python benchmarks/bench_latency.py --reader data/06_models/RUN
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from run_qa_recipe import MAX_TOKENS, OVERLAP_TOKENS, PASSAGE, best_answer, window_spans
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from common import SHARED, header, spread, take_turns
from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.inference.onnx_export import quantise, write_onnx
from roberta_squad_pipeline.reader.onnx_reader import ONNX_MODEL
from roberta_squad_pipeline.reader.storage import load_reader, save_beside_weights
from roberta_squad_pipeline.squad.dataset import read_squad

LONG = 70_000
BATCH_WINDOWS = 32
Asked = list[tuple[str, str]]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", type=Path, required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(header("torch", "transformers", "onnxruntime", "roberta_squad_pipeline"), "\n")
    print("| asked | side | threads | s |")
    print("| --- " * 4 + "|")
    with tempfile.TemporaryDirectory() as folder:
        write_models(options.reader, Path(folder))
        for threads in options.threads:
            torch.set_num_threads(threads)
            os.environ["OMP_NUM_THREADS"] = str(threads)  # what onnxruntime goes by
            answerers = sides(options.reader, Path(folder), threads)
            for name, (asked, times) in questions().items():
                turns = {side: partial(ask, one, asked, times) for side, one in answerers.items()}
                for side, seconds in take_turns(turns, options.repeats).items():
                    each = [of_turn / times for of_turn in seconds]
                    print(f"| {name} | {side} | {threads} | {spread(each)} |", flush=True)


def ask(answer: Callable[[Asked], Any], asked: Asked, times: int) -> None:
    """Asks again and again, as one who has a single reader, whose weights stay in the caches."""
    for _ in range(times):
        answer(asked)


def questions() -> dict[str, tuple[Asked, int]]:
    """What is asked, by what the table calls it, and how often in a turn."""
    dataset = read_squad(SHARED / "squad" / "dev-sample.json", on_misaligned="error")
    passage = next(each for each in dataset.passages if len(each.questions) >= 10)
    ten = [(question.text, passage.text) for question in passage.questions[:10]]
    everything = "\n".join(each.text for each in dataset.passages)
    return {
        "one question": (ten[:1], 20),
        "ten on a passage": (ten, 3),
        "one on 70,000 characters": ([(ten[0][0], everything[:LONG])], 1),
    }


def write_models(reader: Path, folder: Path) -> None:
    """Writes the reader as ONNX in fp32 and int8, and a model of transformers' beside them."""
    trained = load_reader(reader)
    for name in ("fp32", "int8"):
        (folder / name).mkdir()
        path = folder / name / ONNX_MODEL
        write_onnx(trained.in_torch, trained.header.windows, path)
        if name == "int8":
            quantise(path)
        save_beside_weights(trained, folder / name)
    Reader(trained).save_pretrained(folder / "transformers")
    model = AutoModelForQuestionAnswering.from_pretrained(
        folder / "transformers", attn_implementation="eager"
    ).eval()
    ids = torch.arange(32).view(2, 16)
    mask = torch.ones_like(ids)
    mask[0, -1] = 0  # without padding, transformers would leave out the mask
    names = ("input_ids", "attention_mask", "token_type_ids")
    axes = {0: "windows", 1: "tokens"}
    torch.onnx.export(
        model,
        kwargs=dict(zip(names, (ids, mask, torch.zeros_like(ids)), strict=True)),
        input_names=names,
        output_names=("start_logits", "end_logits"),
        dynamic_shapes=dict.fromkeys(names, axes),
        dynamo=True,
        verbose=False,
    ).save(folder / "transformers" / "model.onnx")


def sides(reader: Path, folder: Path, threads: int) -> dict[str, Callable[[Asked], Any]]:
    """What answers, by name."""
    return {
        "torch": Reader.load(reader).answer_all,
        "ONNX fp32": Reader.load(folder / "fp32").answer_all,
        "ONNX int8": Reader.load(folder / "int8").answer_all,
        "transformers, ONNX fp32": Recipe(folder / "transformers", threads),
    }


class Recipe:
    """The usual recipe's answers from an ONNX model of transformers'."""

    def __init__(self, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._inputs = [each.name for each in self._session.get_inputs()]

    def __call__(self, asked: Asked) -> list[tuple[str, float]]:
        """Answers each question from all of its windows."""
        encoded = self._tokenizer(
            [question for question, _ in asked],
            [passage for _, passage in asked],
            truncation="only_second",
            max_length=MAX_TOKENS,
            stride=OVERLAP_TOKENS,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        found: list[list[Any]] = [[] for _ in asked]
        count = len(encoded["input_ids"])
        for first in range(0, count, BATCH_WINDOWS):
            rows = range(first, min(first + BATCH_WINDOWS, count))
            for row, (start, end) in zip(rows, self._logits(encoded, rows), strict=True):
                offsets = np.array(encoded["offset_mapping"][row])
                in_passage = np.array(encoded.sequence_ids(row)) == PASSAGE
                question = encoded["overflow_to_sample_mapping"][row]
                found[question].append(window_spans(start, end, offsets, in_passage))
        return [best_answer(spans, asked[n][1]) for n, spans in enumerate(found)]

    def _logits(self, encoded: Any, rows: Sequence[int]) -> list[tuple[Any, Any]]:
        given = {name: [encoded[name][row] for row in rows] for name in self._inputs}
        padded = self._tokenizer.pad(given, return_tensors="np")
        outputs = self._session.run(None, {name: padded[name] for name in self._inputs})
        lengths = [len(encoded["input_ids"][row]) for row in rows]
        return [
            (start[:length], end[:length])
            for start, end, length in zip(*outputs, lengths, strict=True)
        ]


if __name__ == "__main__":
    main()
