"""Which windows make an update, and the arrays of a batch.

Oracle: laws of permutations and of sorting; for a batch's arrays, decoding its ids.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import (
    Thinning,
    assemble,
    epoch_windows,
    length_sorted_batches,
    micro_batches,
    split_update,
    thinning_of,
    update_windows,
)
from roberta_squad_pipeline.squad.dataset import (
    GoldAnswer,
    Passage,
    Question,
    SquadDataset,
)

Build = Callable[[SquadDataset, Path, WindowConfig], Features]
sizes = st.integers(1, 40)
lengths = st.lists(st.integers(4, 9), min_size=1, max_size=30).map(lambda n: np.array(n, np.int32))


@given(windows=sizes, batch_size=sizes, seed=st.integers(0, 3))
def test_updates_are_slices_of_epochs_laid_end_to_end(
    windows: int, batch_size: int, seed: int
) -> None:
    """Law: every stretch of as many windows as there are is one permutation of them all."""
    updates = -(-3 * windows // batch_size)
    drawn = np.concatenate(
        [update_windows(windows, batch_size, seed, update) for update in range(1, updates + 1)]
    )
    assert len(drawn) == updates * batch_size
    for epoch in range(3):
        whole = drawn[epoch * windows : (epoch + 1) * windows]
        assert sorted(whole.tolist()) == list(range(windows))


@given(
    thinned=st.lists(st.booleans(), min_size=1, max_size=30),
    batch_size=sizes,
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_an_epoch_draws_some_of_the_thinned_windows_and_all_others(
    thinned: list[bool], batch_size: int, seed: int, data: st.DataObject
) -> None:
    """Law: each epoch holds every other window once and `kept` different ones of these."""
    # An epoch has at least one window.
    kept = data.draw(st.integers(int(all(thinned)), sum(thinned)))
    thinning = Thinning(np.array(thinned), kept)
    windows = len(thinned)
    epoch = epoch_windows(windows, thinning)
    drawn = np.concatenate(
        [
            update_windows(windows, batch_size, seed, update, thinning)
            for update in range(1, -(-3 * epoch // batch_size) + 1)
        ]
    )
    for number in range(3):
        whole = drawn[number * epoch : (number + 1) * epoch].tolist()
        assert len(set(whole)) == len(whole) == epoch
        assert set(whole) >= {n for n, thin in enumerate(thinned) if not thin}
        assert sum(thinned[n] for n in whole) == kept


def test_thinned_windows_are_drawn_alike_in_the_long_run() -> None:
    """40 epochs of 10 of 40 windows, each drawn 10 times; five standard deviations are 14."""
    thinning = Thinning(np.arange(50) < 40, 10)
    drawn = [update_windows(50, 20, 3, epoch, thinning) for epoch in range(1, 41)]
    counts = np.bincount(np.concatenate(drawn), minlength=50)
    assert counts[40:].tolist() == [40] * 10
    assert counts[:40].sum() == 400
    assert 0 < counts[:40].min() <= counts[:40].max() < 24
    # Another object that says the same draws the same.
    again = Thinning(np.arange(50) < 40, 10)
    assert update_windows(50, 20, 3, 7, again).tolist() == drawn[6].tolist()


def test_which_windows_are_thinned(tiny_features: Features) -> None:
    """Of the river passage alone, which takes several windows; not those with an answer in them."""
    windows = tiny_features.windows
    assert thinning_of(windows, "keep") is None
    half = thinning_of(windows, 0.5)
    assert half is not None
    per_question = Counter(windows.question.tolist())
    expected = [
        per_question[question] > 1 and start == plausible == 0
        for question, start, plausible in zip(
            windows.question.tolist(), windows.start, windows.plausible_start, strict=True
        )
    ]
    assert half.thinned.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert half.kept == round(sum(expected) / 2)
    none, every = (thinning_of(windows, share) for share in (0.0, 1.0))
    assert epoch_windows(len(expected), none) == len(expected) - sum(expected)
    assert epoch_windows(len(expected), every) == len(expected)
    # Drawing all is the same as no thinning.
    for update in (1, 9):
        plain = update_windows(len(expected), 4, 1, update)
        assert update_windows(len(expected), 4, 1, update, every).tolist() == plain.tolist()


def test_an_update_may_straddle_epochs() -> None:
    """Ten windows, four an update: the third takes two of each epoch."""
    epochs = [update_windows(10, 10, 7, update) for update in (1, 2)]
    assert update_windows(10, 4, 7, 3).tolist() == [*epochs[0][8:], *epochs[1][:2]]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, update: int) -> list[int]:
        return update_windows(50, 50, seed, update).tolist()

    assert order(1, 1) == order(1, 1)
    assert len({tuple(order(seed, update)) for seed in range(3) for update in range(1, 4)}) == 9
    # A draw that someone changes must not change the next one.
    update_windows(50, 50, 1, 1)[:] = 0
    assert sorted(order(1, 1)) == list(range(50))


def test_draws_are_uniform() -> None:
    """Mean of 0 … 9 is 4.5, its standard error over 400 draws 0.14; far from a sorted order."""
    firsts = [update_windows(10, 1, seed, 1).item() for seed in range(400)]
    assert abs(np.mean(firsts) - 4.5) < 5 * 0.14
    assert len(set(firsts)) == 10


@given(
    tokens=lengths,
    processes=st.integers(1, 5),
    share=st.integers(1, 9),
    micro_batch=sizes,
    data=st.data(),
)
def test_micro_batches_of_all_processes_partition_the_update(
    tokens: np.ndarray, processes: int, share: int, micro_batch: int, data: st.DataObject
) -> None:
    """Law: each process has as many windows, cut into pieces of a size, the longest first."""
    size = processes * share
    window = st.integers(0, len(tokens) - 1)
    drawn = np.array(data.draw(st.lists(window, min_size=size, max_size=size)))
    split = split_update(size, processes, micro_batch)
    assert (split.processes, split.share) == (processes, share)
    held = [micro_batches(drawn, tokens, split, rank) for rank in range(processes)]
    everything = [window for pieces in held for piece in pieces for window in piece.tolist()]
    assert Counter(everything) == Counter(drawn.tolist())
    for pieces in held:
        assert sum(map(len, pieces)) == share
        assert all(1 <= len(piece) <= micro_batch for piece in pieces)
        assert len(pieces) == split.accumulation == -(-share // micro_batch)
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
        assert np.all(np.diff(tokens[np.concatenate(pieces)]) <= 0)


def test_processes_get_like_amounts_of_tokens() -> None:
    """SQuAD's lengths, about: log-normal with median 167. 8 processes of 6 windows each."""
    rng = np.random.default_rng(0)
    tokens = np.clip(rng.lognormal(np.log(167), 0.5, 10_000), 20, 512).astype(np.int32)
    split = split_update(48, 8, 3)
    most = []
    for update in range(1, 101):
        drawn = update_windows(len(tokens), 48, 0, update)
        held = [micro_batches(drawn, tokens, split, rank) for rank in range(8)]
        totals = [sum(int(tokens[piece].sum()) for piece in pieces) for pieces in held]
        most.append(max(totals) / np.mean(totals))
    assert np.mean(most) < 1.05


def test_split_is_told_and_an_impossible_one_is_an_error() -> None:
    assert [int(n) for n in re.findall(r"\d+", str(split_update(48, 8, 3)))] == [48, 8, 3, 2]
    with pytest.raises(InputError, match=r"48 windows per update for 5 processes.*Run 4 processes"):
        split_update(48, 5, 3)


@given(lengths, sizes)
def test_inference_sees_every_window_once_longest_first(tokens: np.ndarray, size: int) -> None:
    batches = list(length_sorted_batches(tokens, size))
    order = np.concatenate(batches)
    assert sorted(order.tolist()) == list(range(len(tokens)))
    assert np.all(np.diff(tokens[order]) <= 0)
    assert all(len(batch) == size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= size


@pytest.mark.parametrize("order", ["passage_first", "question_first"])
def test_arrays_of_a_batch(
    build: Build,
    tiny_squad: SquadDataset,
    encoder_folder: Path,
    window_config: WindowConfig,
    order: Order,
) -> None:
    """Every window is put together again from the features, part by part, and padded by hand."""
    config = window_config.model_copy(update={"order": order})
    tiny_features = build(tiny_squad, encoder_folder, config)
    windows, special = tiny_features.windows, tiny_features.meta.tokenizer.special_tokens
    separators = special.pair_separators if order == "question_first" else 1
    indices = np.arange(len(windows.question))[::-1].copy()
    batch = assemble(tiny_features, indices)
    longest = int(tiny_features.window_tokens.max())
    for row, index in enumerate(indices):
        question = windows.question[index]
        passage = tiny_features.passages.tokens[tiny_features.question_passage[question]]
        held = passage[windows.first[index] : windows.first[index] + windows.count[index]].tolist()
        asked = tiny_features.question_tokens[question].tolist()
        texts = [held, asked] if order == "passage_first" else [asked, held]
        between = [special.sep] * separators
        expected = [special.cls, *texts[0], *between, *texts[1], special.sep]
        padding = longest - len(expected)
        assert len(expected) == tiny_features.window_tokens[index]
        assert batch.input_ids[row].tolist() == expected + [special.pad] * padding
        assert batch.attention_mask[row].tolist() == [True] * len(expected) + [False] * padding
        types = [0] * (1 + len(texts[0]) + separators) + [1] * (len(texts[1]) + 1)
        assert batch.token_type_ids[row].tolist() == types + [0] * padding
    assert batch.packing is not None
    row = batch.input_ids.flatten()[batch.packing.tokens]
    assert torch.equal(row, batch.input_ids[batch.attention_mask])
    assert batch.packing.lengths == tuple(tiny_features.window_tokens[indices].tolist())
    assert batch.packing.offsets.diff().tolist() == list(batch.packing.lengths)
    assert batch.packing.offsets[0] == 0
    assert batch.start.tolist() == windows.start[indices].tolist()
    assert batch.end.tolist() == windows.end[indices].tolist()


def test_batch_is_as_long_as_its_longest_window(tiny_features: Features) -> None:
    for index, tokens in enumerate(tiny_features.window_tokens):
        batch = assemble(tiny_features, np.array([index]))
        assert batch.input_ids.shape == (1, tokens)
        assert batch.attention_mask.all()


def test_batch_moves_whole(tiny_features: Features) -> None:
    moved = assemble(tiny_features, np.array([0])).to(torch.device("meta"))
    others = {"packing", "teacher", "order"}
    names = [field.name for field in fields(moved) if field.name not in others]
    assert {getattr(moved, name).device.type for name in names} == {"meta"}
    assert moved.order == tiny_features.meta.windows.order
    assert moved.packing is not None
    assert {moved.packing.offsets.device.type, moved.packing.tokens.device.type} == {"meta"}


PASSAGE = "The Amazon flows east for 6,400 km; it ends near Belém."
LONG_QUESTION = "Where does it end " + "or begin " * 60 + "?"


@pytest.mark.parametrize(
    ("question", "max_question_tokens", "asked"),
    [("Where does it end?", 128, " Q: Where does it end?"), (LONG_QUESTION, 4, " Q: Where does")],
)
def test_input_is_exactly_the_recipe_s(
    shared: Path, build: Build, question: str, max_question_tokens: int, asked: str
) -> None:
    """`<s> passage </s> Q: question </s>`, and labels at the answer, by decoding the ids."""
    answer = GoldAnswer("Belém", PASSAGE.index("Belém"))
    squad = SquadDataset((Passage(PASSAGE, "", (Question("q", question, (answer,)),)),))
    limits = WindowConfig(
        order="passage_first", max_tokens=512, max_question_tokens=max_question_tokens, stride=128
    )
    folder = shared / "roberta-tokenizer"
    batch = assemble(build(squad, folder, limits), np.array([0]))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    ids = batch.input_ids[0]
    assert tokenizer.decode(ids) == f"<s>{PASSAGE}</s>{asked}</s>"
    assert tokenizer.decode(ids[batch.start.item() : batch.end.item() + 1]) == " Belém"


def test_question_first_is_the_tokenizer_s_own_pair(
    build: Build, family_folder: Path, window_config: WindowConfig
) -> None:
    """Oracle: transformers' encoding of question and passage, ids and token types."""
    tokenizer = AutoTokenizer.from_pretrained(str(family_folder))
    question, passage = "Where does it end?", "It ends in the Atlantic Ocean."
    squad = SquadDataset((Passage(passage, "", (Question("q", question, ()),)),))
    config = window_config.model_copy(update={"order": "question_first"})
    batch = assemble(build(squad, family_folder, config), np.array([0]))
    pair = tokenizer(question, passage, return_token_type_ids=True)
    assert batch.input_ids[0].tolist() == pair["input_ids"]
    # RoBERTa's family gives every token the same type, and reads no other.
    if any(pair["token_type_ids"]):
        assert batch.token_type_ids[0].tolist() == pair["token_type_ids"]


@pytest.mark.parametrize("order", ["passage_first", "question_first"])
def test_labels_hit_the_answer_in_every_window_that_holds_it(
    build: Build,
    tiny_squad: SquadDataset,
    encoder_folder: Path,
    window_config: WindowConfig,
    order: Order,
) -> None:
    """Decoding the ids from start to end gives the gold answer; else both point at `<s>`."""
    config = window_config.model_copy(update={"order": order})
    tiny_features = build(tiny_squad, encoder_folder, config)
    tokenizer = AutoTokenizer.from_pretrained(str(encoder_folder))
    questions = tiny_features.windows.question
    batch = assemble(tiny_features, np.arange(len(questions)))
    gold = [question.answers for question in tiny_squad.questions]
    labelled = set()
    for ids, start, end, question in zip(
        batch.input_ids, batch.start.tolist(), batch.end.tolist(), questions, strict=True
    ):
        if start == 0:
            assert end == 0
            continue
        labelled.add(int(question))
        expected = tokenizer(gold[question][0].text, add_special_tokens=False).input_ids
        decoded = tokenizer.decode(ids[start : end + 1]).strip()
        assert decoded == tokenizer.decode(expected)
    assert labelled == {row for row, answers in enumerate(gold) if answers}
