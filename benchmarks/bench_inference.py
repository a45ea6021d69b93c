"""Windows a second in inference: without padding, and padded to 384 as in the usual recipe.

Both sides give the windows of the real dev sample to the same reader (random weights, fp32) and
take the best spans of every window from its logits by the same search, up to one prediction a
question. The recipe's side pads every window to 384 tokens and computes with transformers' own
attention over padding masks. The answers must be identical: the same text from the same characters
for every question, and scores that differ by 32-bit rounding only.

    python benchmarks/bench_inference.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import torch
from readers import MINI, inference_config, random_encoder, sample_features
from torch import nn
from torch.nn import functional as F

from common import header, spread, take_turns, times_faster
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import Prediction, predict
from roberta_squad_pipeline.reader import device, lanes
from roberta_squad_pipeline.reader.batching import Batch, assemble, length_sorted_batches
from roberta_squad_pipeline.reader.device import computing_in, fast_precision, reading_in
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput

MAX_TOKENS = 384


class PaddedReader(nn.Module):
    """Reads all windows padded to the same length."""

    def __init__(self, reader: ReaderModel) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, batch: Batch) -> ReaderOutput:
        """Reads a batch after padding it further."""
        missing = (0, MAX_TOKENS - batch.input_ids.shape[1])
        return self.reader(
            Batch(
                F.pad(batch.input_ids, missing, value=self.reader.encoder.config.pad_token_id),
                F.pad(batch.attention_mask, missing),
                F.pad(batch.token_type_ids, missing),
                batch.start,
                batch.end,
                batch.plausible_start,
                batch.plausible_end,
            )
        )


def side(
    reader: nn.Module,
    features: Features,
    precision: str,
    batch_windows: int,
    answers: dict[str, list[Prediction]],
) -> Callable[[], None]:
    """Answers all questions, and leaves the predictions under the precision and kind of reader."""
    config = inference_config(precision, batch_windows)

    def turn() -> None:
        found = predict(
            reader, features, config, device=torch.device("cpu"), on_windows=lambda _: None
        )
        answers[f"{type(reader).__name__} {precision}"] = list(found)

    def turn_of_the_recipe() -> None:
        # torch's own products and threads, as everywhere but in this project's inference.
        with (
            mock.patch.object(device, "reading_in", computing_in),
            mock.patch.object(lanes, "lane_count", return_value=1),
        ):
            turn()

    return turn_of_the_recipe if isinstance(reader, PaddedReader) else turn


def best_answer(answered: Prediction) -> tuple[str, int, int]:
    """Its text and characters."""
    best = answered.candidates[0]
    return best.text, best.char_start, best.char_end


def compare(here: list[Prediction], recipe: list[Prediction]) -> str:
    """Says how many questions have the same best answer, and how far scores are apart."""
    same = sum(
        best_answer(mine) == best_answer(theirs) for mine, theirs in zip(here, recipe, strict=True)
    )
    apart = max(
        max(
            abs(mine.no_answer_logit - theirs.no_answer_logit),
            abs(mine.candidates[0].score - theirs.candidates[0].score),
        )
        for mine, theirs in zip(here, recipe, strict=True)
    )
    return f"{same} of {len(here)} best answers are the same; scores differ by at most {apart:.1e}"


def cpu_seconds(reader: nn.Module, features: Features, batch_windows: int, fast: bool) -> float:
    """CPU seconds a window of forward passes in one thread, over five batches of all lengths.

    Other work on the machine changes them far less than seconds on the clock.
    """
    batches = list(length_sorted_batches(features.window_tokens, batch_windows))
    context = reading_in if fast else computing_in
    seconds, windows = 0.0, 0
    with torch.inference_mode(), context("fp32", torch.device("cpu")):
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            batch = assemble(features, batches[int(share * len(batches))])
            began = time.process_time()
            reader(batch)
            seconds += time.process_time() - began
            windows += len(batch.start)
    return seconds / windows


def main_one_thread(reader: ReaderModel, features: Features) -> None:
    """Prints windows per CPU second of each side in one thread, medians of three turns."""
    torch.set_num_threads(1)
    sides = {
        "recipe: padded to 384": (PaddedReader(reader.eval()), 8, False),
        "here, torch's own products": (reader, 16, False),
        "here": (reader, 16, True),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(3):
        for name, (read, size, fast) in sides.items():
            taken[name].append(cpu_seconds(read, features, size, fast))
    print("| side, fp32 | windows per CPU second |\n| --- | --- |")
    for name, seconds in taken.items():
        print(f"| {name} | {1 / statistics.median(seconds):.1f} |")
    print(f"\nhere / recipe: {times_faster(taken, 'here', 'recipe: padded to 384'):.2f} times")


def main() -> None:
    """Measures the sides and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one-thread", action="store_true", help="count CPU seconds")
    options = parser.parse_args()
    features = sample_features("dev", MAX_TOKENS)
    reader = ReaderModel(random_encoder(MINI), 0.1, "first_token")
    if options.one_thread:
        main_one_thread(reader, features)
        return
    answers: dict[str, list[Prediction]] = {}
    # The recipe's batch is transformers' default, at which it was faster than with larger ones.
    sides = {
        f"{name}: {precision}": side(read, features, precision, size, answers)
        for name, read, size in (("recipe", PaddedReader(reader), 8), ("here", reader, 16))
        for precision in ("fp32", fast_precision(torch.device("cpu")))
        if (name, precision) != ("recipe", "bf16")
    }
    seconds = take_turns(sides, options.turns, warm_up=0)
    windows = len(features.windows.question)
    tokens = features.window_tokens
    print(header("torch", "transformers", "roberta_squad_pipeline"))
    print(f"{windows} windows, mean {tokens.mean():.0f} tokens.\n")
    print("| side | windows/s | s: median (least to greatest) |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        print(f"| {name} | {windows / statistics.median(taken):.1f} | {spread(taken)} |")
    for name in seconds:
        precision = name.removeprefix("here: ")
        if precision != name:
            stage = f"inference, {precision} beside fp32"
            ratio = times_faster(seconds, name, "recipe: fp32", stage=stage)
            print(f"\n{name} / recipe: {ratio:.2f} times")
            same = compare(answers[f"ReaderModel {precision}"], answers["PaddedReader fp32"])
            print(f"{name}: {same}")


if __name__ == "__main__":
    main()
