"""Examples a second in training: this project, and the usual question-answering recipe.

The recipe is Hugging Face's example as publicly described: `AutoModelForQuestionAnswering`,
`DataCollatorWithPadding`, AdamW (the same fused one), 48 windows per update. By default it pads
every window to 384 tokens and computes in fp32; its best flags group windows by length over many
updates (`LengthGroupedSampler`'s mega-batches) and compute in bf16 autocast, where the processor
has instructions for it. Here an update is a uniform random draw, and windows lie end to end without
padding.

Both sides read 12 windows in a pass, as conf/base has it and the example's README. With all 48 in
one pass, all take longer on a CPU, the recipe most.

All sides read the same windows of the real sample with encoders of the same random weights and the
dropout of RoBERTa's own settings (0.1), and take turns in one process.

    python benchmarks/bench_training.py
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping
from itertools import count

import torch
from readers import (
    MINI,
    TOKENIZER,
    encoder_config,
    plain_rows,
    random_encoder,
    sample_features,
    training_config,
)
from torch.utils.data import DataLoader
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding
from transformers.trainer_pt_utils import get_length_grouped_indices

from common import header, spread, take_turns, times_faster
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import (
    assemble,
    micro_batches,
    split_update,
    update_windows,
)
from roberta_squad_pipeline.reader.device import fast_precision
from roberta_squad_pipeline.reader.lanes import Lanes, even_lane_count
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.learning_rates import build_optimizer, set_learning_rates
from roberta_squad_pipeline.training.step import lane_readers, train_step_in_lanes

BATCH = 48
MAX_TOKENS = 384
MICRO_BATCH = 12
CPU = torch.device("cpu")


def ours(
    features: Features,
    precision: str,
    updates: int,
    *,
    shape: Mapping[str, int] = MINI,
    batch: int = BATCH,
    micro_batch: int = MICRO_BATCH,
) -> Callable[[], None]:
    """A side that makes the next updates of a run, as the training loop makes them."""
    config = training_config(precision=precision, batch_size=batch, micro_batch=micro_batch)
    reader = ReaderModel(random_encoder(shape), 0.1, "first_token").train()
    optimizer = build_optimizer(reader, config)
    lanes = Lanes(even_lane_count(CPU, batch)).__enter__()
    readers = lane_readers(reader, lanes.count)
    split = split_update(batch, 1, config.micro_batch, lanes.count)
    numbers = count(1)

    def turn() -> None:
        for update in (next(numbers) for _ in range(updates)):
            set_learning_rates(optimizer, update, config)
            tokens = features.window_tokens
            drawn = update_windows(len(tokens), batch, config.seed, update)
            shares = [micro_batches(drawn, tokens, split, lane) for lane in range(lanes.count)]
            batches = [[assemble(features, piece) for piece in share] for share in shares]
            seeds = range(update, update + lanes.count)
            train_step_in_lanes(
                reader, readers, batches, optimizer, config, lanes=lanes, seeds=seeds
            ).item()

    return turn


def recipe(
    features: Features,
    *,
    grouped: bool,
    bf16: bool,
    padding: str,
    updates: int,
    shape: Mapping[str, int] = MINI,
    batch: int = BATCH,
    micro_batch: int = MICRO_BATCH,
) -> Callable[[], None]:
    """A side that makes updates as the usual recipe makes them."""
    rows = plain_rows(features)
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_config(encoder_config(shape)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, fused=True)
    collate = DataCollatorWithPadding(
        AutoTokenizer.from_pretrained(TOKENIZER), padding=padding, max_length=MAX_TOKENS
    )
    passes = (
        drawn[first : first + micro_batch]
        for drawn in drawn_updates([len(row["input_ids"]) for row in rows], grouped, updates, batch)
        for first in range(0, len(drawn), micro_batch)
    )
    loader = iter(DataLoader(rows, batch_sampler=passes, collate_fn=collate))

    def turn() -> None:
        for _ in range(updates):
            loss = torch.zeros(())
            for _ in range(batch // micro_batch):
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    part = model(**next(loader)).loss * (micro_batch / batch)
                part.backward()
                loss += part.detach()
            optimizer.step()
            optimizer.zero_grad()
            loss.item()

    return turn


def drawn_updates(
    lengths: list[int], grouped: bool, updates: int, batch: int
) -> Iterator[list[int]]:
    """Windows of one update after the other.

    Where windows are grouped by length, an update of long ones takes many times as long as one of
    short ones. So that every turn has its share of both, it takes updates from all over a
    mega-batch: the stretch within which the sampler sorts.
    """
    while True:
        if not grouped:
            for drawn in torch.randperm(len(lengths)).split(batch):
                yield drawn.tolist()
            continue
        drawn = torch.tensor(get_length_grouped_indices(lengths, batch)).split(batch)
        mega = min(len(lengths) // (batch * 4), 50)
        for start in range(0, len(drawn) - mega + 1, mega):
            step = mega // updates
            for first in range(step):
                for position in range(updates):
                    yield drawn[start + first + position * step].tolist()


def main() -> None:
    """Measures the sides and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4, help="in a turn")
    parser.add_argument("--only", nargs="*", help="sides, by the first letters of their names")
    options = parser.parse_args()
    updates = options.updates
    features = sample_features("train", MAX_TOKENS)
    fast = fast_precision(CPU)
    sides = {
        "recipe, default: padded to 384, fp32": lambda: recipe(
            features, grouped=False, bf16=False, padding="max_length", updates=updates
        ),
        f"recipe, best flags: grouped by length, {fast}": lambda: recipe(
            features, grouped=True, bf16=fast == "bf16", padding="longest", updates=updates
        ),
        f"here: {fast}": lambda: ours(features, fast, updates),
    }
    wanted = tuple(options.only or [""])
    sides = {name: build() for name, build in sides.items() if name.startswith(wanted)}
    seconds = take_turns(sides, options.turns)
    print(header("torch", "transformers", "roberta_squad_pipeline"))
    tokens = features.window_tokens
    print(
        f"{len(tokens)} windows, mean {tokens.mean():.0f} tokens. Seconds of {updates} updates:\n"
    )
    print("| side | examples/s | s a turn: median (least to greatest) |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        rate = BATCH * updates / statistics.median(taken)
        print(f"| {name} | {rate:.1f} | {spread(taken)} |")
    if not options.only:
        *theirs, mine = seconds
        for side, flags in zip(theirs, ("default", "best flags"), strict=True):
            stage = f"training, beside the recipe's {flags}"
            ratio = times_faster(seconds, mine, side, stage=stage)
            print(f"\nhere / recipe, {flags}: {ratio:.2f} times")


if __name__ == "__main__":
    main()
