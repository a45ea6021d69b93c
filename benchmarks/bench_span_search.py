"""Searches the answers of the same windows by the usual nested loops and by this project's search.

Both sides are given the same logits of all windows of the real dev sample. Two things are timed of
each: the search alone, which ends with the places and scores of the 20 best spans, and all of it,
which ends with the 20 best texts of each question as Python objects. The loops try 20 x 20 starts
and ends; this project tries all spans. Prints Markdown.

    python benchmarks/bench_span_search.py
"""

import argparse
from functools import partial
from typing import Any

import numpy as np
import torch

from common import SHARED, header, spread, take_turns, times_faster
from roberta_squad_pipeline.features.build import build_features
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.inference.prediction import WindowSpans, add_spans, merge_windows
from roberta_squad_pipeline.reader.batching import length_sorted_batches
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.model import ReaderOutput
from roberta_squad_pipeline.squad.dataset import read_squad

CONFIG = InferenceConfig(
    batch_windows=64, precision="fp32", max_answer_tokens=30, n_best=20, null_score="best_span"
)
WINDOWS = WindowConfig(order="passage_first", max_tokens=384, max_question_tokens=64, stride=128)

Example = dict[str, Any]


def sample() -> Features:
    """Windows of the dev sample with RoBERTa's own tokenizer."""
    path = SHARED / "squad/dev-sample.json"
    tokenizer = PassageTokenizer.load(str(SHARED / "roberta-tokenizer"))
    batch = build_features(
        read_squad(path, on_misaligned="drop").passages,
        tokenizer=tokenizer,
        windows=WINDOWS,
        source=str(path),
        data_sha256="0" * 64,
    )
    return Features.from_batch(batch)


def logits_of(features: Features, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn start and end logits; shape of each: (windows, tokens of the longest).

    As those of a trained reader, they have a peak each, are alike for neighbours, and high in the
    same places for starts and ends: of the loops' 400 pairs as many are spans.
    """
    rng = np.random.default_rng(seed)
    tokens = features.window_tokens
    shape = (len(tokens), int(tokens.max()))
    peak = rng.integers(1, 1 + features.windows.count)
    distance = np.abs(np.arange(shape[1]) - peak[:, None])
    noise = np.cumsum(rng.normal(size=shape), axis=1)
    likely = 6 * np.exp(-distance / 10)
    likely[:, 4:] += (noise[:, 4:] - noise[:, :-4]) / 2
    start, end = (likely + rng.normal(scale=0.5, size=shape) for _ in range(2))
    return start.astype(np.float32), end.astype(np.float32)


def pairs_that_are_spans(features: Features, start: np.ndarray, end: np.ndarray) -> float:
    """Of the loops' pairs of a window, on average."""
    starts, ends = (np.argsort(-each, axis=1)[:, : CONFIG.n_best] for each in (start, end))
    last = features.windows.count[:, None]
    inside = [(each >= 1) & (each <= last) for each in (starts, ends)]
    tokens = ends[:, None, :] - starts[:, :, None]
    fits = (tokens >= 0) & (tokens < CONFIG.max_answer_tokens)
    return float((fits & inside[0][:, :, None] & inside[1][:, None, :]).sum((1, 2)).mean())


def ours(
    features: Features, start: torch.Tensor, end: torch.Tensor, no_answer: torch.Tensor
) -> list[Any]:
    """What `kedro run --pipeline inference` does with a reader's logits."""
    return list(merge_windows(our_search(features, start, end, no_answer), features, CONFIG))


def our_search(
    features: Features, start: torch.Tensor, end: torch.Tensor, no_answer: torch.Tensor
) -> WindowSpans:
    """The spans of every window."""
    found = WindowSpans.none(len(start), CONFIG.n_best)
    for indices in length_sorted_batches(features.window_tokens, CONFIG.batch_windows):
        tokens = int(features.window_tokens[indices].max())
        rows = torch.from_numpy(indices)
        output = ReaderOutput(start[rows, :tokens], end[rows, :tokens], no_answer[rows])
        add_spans(found, output.arrays(), features, indices, CONFIG)
    return found


def recipe_input(features: Features) -> list[Example]:
    """Questions as the recipe has them: a context, and each window's place of every token."""
    windows, passages = features.windows, features.passages
    examples = [
        {
            "id": question,
            "context": features.passage_texts[int(passage)].as_py(),
            "windows": [],
            "offsets": [],
        }
        for question, passage in zip(
            features.question_ids.to_pylist(), features.question_passage, strict=True
        )
    ]
    for window, question in enumerate(windows.question.tolist()):
        passage = int(features.question_passage[question])
        held = slice(windows.first[window], windows.first[window] + windows.count[window])
        places = zip(
            passages.char_start[passage][held].tolist(),
            passages.char_end[passage][held].tolist(),
            strict=True,
        )
        behind = int(features.window_tokens[window] - 1 - windows.count[window])
        examples[question]["windows"].append(window)
        examples[question]["offsets"].append([None, *places, *[None] * behind])
    return examples


def recipe(examples: list[Example], start: np.ndarray, end: np.ndarray) -> list[list[Example]]:
    """The usual post-processing of extractive question answering, from its public description."""
    return [
        recipe_texts(example, best)
        for example, best in zip(examples, recipe_search(examples, start, end), strict=True)
    ]


def recipe_search(
    examples: list[Example], start: np.ndarray, end: np.ndarray
) -> list[list[Example]]:
    """The loops alone."""
    return [search_question(example, start, end) for example in examples]


def search_question(example: Example, all_start: np.ndarray, all_end: np.ndarray) -> list[Example]:
    """One question: its windows' likely starts and ends in pairs, then the best of them."""
    found: list[Example] = []
    null_score = None
    for window, offsets in zip(example["windows"], example["offsets"], strict=True):
        start_logits, end_logits = all_start[window], all_end[window]
        null = start_logits[0] + end_logits[0]
        null_score = null if null_score is None else min(null, null_score)
        starts = np.argsort(start_logits)[-1 : -CONFIG.n_best - 1 : -1].tolist()
        ends = np.argsort(end_logits)[-1 : -CONFIG.n_best - 1 : -1].tolist()
        for first in starts:
            for last in ends:
                if (
                    first >= len(offsets)
                    or last >= len(offsets)
                    or offsets[first] is None
                    or offsets[last] is None
                ):
                    continue
                if last < first or last - first + 1 > CONFIG.max_answer_tokens:
                    continue
                found.append(
                    {
                        "offsets": (offsets[first][0], offsets[last][1]),
                        "score": start_logits[first] + end_logits[last],
                        "start_logit": start_logits[first],
                        "end_logit": end_logits[last],
                    }
                )
    best = sorted(found, key=lambda span: span["score"], reverse=True)[: CONFIG.n_best]
    best.append({"offsets": (0, 0), "score": null_score})
    return best


def recipe_texts(example: Example, best: list[Example]) -> list[Example]:
    """The texts of a question's best spans, with probabilities."""
    for span in best:
        begin, end = span.pop("offsets")
        span["text"] = example["context"][begin:end]
    scores = np.array([span["score"] for span in best])
    odds = np.exp(scores - scores.max())
    for span, probability in zip(best, odds / odds.sum(), strict=True):
        span["probability"] = probability
    return best


def all_spans(features: Features, start: np.ndarray, end: np.ndarray) -> list[float]:
    """The best score of each question, every span of every window tried one by one."""
    windows, passages = features.windows, features.passages
    best = [-np.inf] * len(features.question_ids)
    for window, question in enumerate(windows.question.tolist()):
        passage = int(features.question_passage[question])
        empty = passages.char_start[passage] == passages.char_end[passage]
        begin, count = int(windows.first[window]), int(windows.count[window])
        for first in range(windows.context_first[window], windows.context_last[window] + 1):
            until = min(first + CONFIG.max_answer_tokens, begin + count)
            lasts = np.arange(first, until)
            lasts = lasts[~empty[first:until]]
            if not empty[first] and len(lasts):
                at = first - begin + 1
                score = (start[window, at] + end[window, lasts - begin + 1]).max()
                best[question] = max(best[question], float(score))
    return best


def main() -> None:
    """Checks, times and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    features = sample()
    start, end = logits_of(features, seed=1)
    examples = recipe_input(features)
    tensors = (torch.from_numpy(start), torch.from_numpy(end), torch.from_numpy(start[:, 0]))
    exact = all_spans(features, start, end)
    found = [prediction.candidates[0].score for prediction in ours(features, *tensors)]
    if found != exact:
        raise SystemExit("the search has missed a best span")
    of_loops = [max(span["score"] for span in best[:-1]) for best in recipe(examples, start, end)]
    missed = sum(score < best for score, best in zip(of_loops, exact, strict=True))
    sides = {
        "nested loops, search alone": partial(recipe_search, examples, start, end),
        "ours, search alone": partial(our_search, features, *tensors),
        "nested loops, with texts": partial(recipe, examples, start, end),
        "ours, with texts": partial(ours, features, *tensors),
    }
    seconds = take_turns(sides, repeats)
    windows = len(start)
    print(header("torch", "numpy"))
    print(
        f"\n{windows} windows of {int(features.window_tokens.min())} to {start.shape[1]} tokens "
        f"({features.window_tokens.mean():.0f} on average), {len(examples)} questions; "
        f"{pairs_that_are_spans(features, start, end):.0f} of the loops' 400 pairs are spans. Best "
        f"spans: ours finds all; the loops miss {missed} of {len(examples)}.\n"
    )
    print("| search | median (least to greatest), s | windows/s |\n| --- | --- | --- |")
    for name, timed in seconds.items():
        rate = windows / sorted(timed)[len(timed) // 2]
        print(f"| {name} | {spread(timed)} | {rate:,.0f} |")
    for what in ("search alone", "with texts"):
        ratio = times_faster(
            seconds, f"ours, {what}", f"nested loops, {what}", stage=f"span search, {what}"
        )
        print(f"| ratio, {what} | {ratio:.1f} | |")


if __name__ == "__main__":
    main()
