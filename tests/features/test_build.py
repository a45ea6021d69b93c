"""Features: passages, questions, labels and windows in Arrow batches.

Oracle: the passage's own characters, looked at token by token; and for real questions the gold
answers, spelled out again by decoding the labelled tokens.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.build import build_features, build_features_in_pieces
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.file import Features, write_features
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.features.tokens import (
    EncodedPassages,
    Ragged,
    SpecialTokens,
    TokenizerIdentity,
)
from roberta_squad_pipeline.features.windows import UNLABELLED
from roberta_squad_pipeline.reader.batching import thinning_of
from roberta_squad_pipeline.squad.dataset import (
    GoldAnswer,
    Passage,
    Question,
    SquadDataset,
    read_squad,
)

Build = Callable[[SquadDataset, Path, WindowConfig], Features]

RECIPE = WindowConfig(order="passage_first", max_tokens=512, max_question_tokens=128, stride=128)
IDENTITY = TokenizerIdentity(
    encoder="letters",
    sha256="1" * 64,
    entries=0x110000,
    special_tokens=SpecialTokens(cls=0, sep=1, pad=2, pair_separators=2),
)


class Letters:
    """A tokenizer whose tokens are pieces of up to three characters; remembers what it encoded."""

    identity = IDENTITY

    def __init__(self) -> None:
        self.passages_seen: list[str] = []
        self.questions_seen: list[str] = []

    def passages(self, texts: Sequence[str]) -> EncodedPassages:
        self.passages_seen += texts
        spans = [
            (start, min(start + 3, len(text))) for text in texts for start in range(0, len(text), 3)
        ]
        tokens = ragged([[ord(text[n]) for n in range(0, len(text), 3)] for text in texts])
        start, end = np.array(spans, np.int32).reshape(-1, 2).T.copy()
        return EncodedPassages(
            tokens,
            Ragged.of_lengths(start, tokens.lengths),
            Ragged.of_lengths(end, tokens.lengths),
        )

    def questions(self, texts: Sequence[str], _: Order) -> Ragged:
        self.questions_seen += texts
        return ragged([[ord(character) for character in text] for text in texts])

    def features(self, dataset: SquadDataset, windows: WindowConfig) -> Features:
        return Features.from_batch(self.batch(dataset.passages, windows))

    def batch(self, passages: Sequence[Passage], windows: WindowConfig) -> pa.RecordBatch:
        return build_features(
            passages,
            tokenizer=self,
            windows=windows,
            source="train.json",
            data_sha256="2" * 64,
        )


def ragged(rows: list[list[int]]) -> Ragged:
    values = np.array([value for row in rows for value in row], np.int32)
    return Ragged.of_lengths(values, [len(row) for row in rows])


SMALL = WindowConfig(order="passage_first", max_tokens=15, max_question_tokens=8, stride=2)


def squad(*passages: Passage) -> SquadDataset:
    return SquadDataset(passages)


# What a question's features say of its answer, put together again from windows and tokens.


@dataclass
class Label:
    """First and last passage token of an answer, and the characters and ids of that run."""

    first: int
    last: int
    text: str
    ids: list[int]


def labels_of(features: Features, row: int) -> list[Label]:
    """The answer as each window that holds it sees it."""
    windows, passage = features.windows, features.question_passage[row]
    text = features.passage_texts[int(passage)].as_py()
    labels = []
    for window in np.flatnonzero((windows.question == row) & (windows.start > 0)):
        first = int(windows.first[window] + windows.start[window] - 1)
        last = int(windows.first[window] + windows.end[window] - 1)
        start = features.passages.char_start[passage][first]
        end = features.passages.char_end[passage][last]
        ids = features.passages.tokens[passage][first : last + 1].tolist()
        labels.append(Label(first, last, text[start:end], ids))
    return labels


def spans_of(features: Features, row: int) -> list[tuple[int, int]]:
    """Characters of each token of a question's passage."""
    passage = features.question_passage[row]
    start, end = features.passages.char_start[passage], features.passages.char_end[passage]
    return list(zip(start.tolist(), end.tolist(), strict=True))


def slow_cover(spans: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """First and last of the tokens that have a character of the answer."""
    touching = [n for n, (s, e) in enumerate(spans) if max(s, start) < min(e, end)]
    return touching[0], touching[-1]


def cuts_a_token(spans: list[tuple[int, int]], start: int, end: int) -> bool:
    return any(s < boundary < e for s, e in spans for boundary in (start, end))


def test_every_gold_answer_of_real_questions_is_labelled(shared: Path, build: Build) -> None:
    """6,085 answers, not only the first of each question; 58 of them begin or end in a token.

    Punctuation that BPE merges, such as `),`, and words such as Australia(ns).
    """
    tokenizer = AutoTokenizer.from_pretrained(str(shared / "roberta-tokenizer"))
    answers = inside = 0
    for name in ("train-sample.json", "dev-sample.json"):
        dataset = each_answer_alone(read_squad(shared / "squad" / name, on_misaligned="error"))
        features = build(dataset, shared / "roberta-tokenizer", RECIPE)
        assert features.counts.beyond_windows == 0
        cut = [check_answer(features, row, gold, tokenizer) for row, gold in golds(dataset)]
        assert sum(cut) == features.counts.inside_tokens
        answers, inside = answers + len(cut), inside + sum(cut)
    assert (answers, inside) == (6085, 58)


def each_answer_alone(dataset: SquadDataset) -> SquadDataset:
    """Every gold answer as that of a question of its own."""
    return squad(
        *(
            Passage(
                passage.text,
                "",
                tuple(
                    Question(f"{question.id}/{n}", question.text, (answer,))
                    for question in passage.questions
                    for n, answer in enumerate(question.answers)
                ),
            )
            for passage in dataset.passages
        )
    )


def golds(dataset: SquadDataset) -> list[tuple[int, GoldAnswer]]:
    return [(row, question.answers[0]) for row, question in enumerate(dataset.questions)]


def check_answer(
    features: Features, row: int, answer: GoldAnswer, tokenizer: PreTrainedTokenizerFast
) -> bool:
    """Checks one answer's labels; says whether a boundary of it lies inside a token."""
    gold, start = answer.text, answer.start
    end = start + len(gold)
    passage = features.passage_texts[int(features.question_passage[row])].as_py()
    assert passage[start:end] == gold
    spans = spans_of(features, row)
    cut = cuts_a_token(spans, start, end)
    labels = labels_of(features, row)
    assert labels
    for label in labels:
        assert (label.first, label.last) == slow_cover(spans, start, end)
        decoded = tokenizer.decode(label.ids)
        assert decoded.strip() == label.text
        assert gold.strip() in decoded
        assert cut or decoded.strip() == gold.strip()
    return cut


# Letters of one to four bytes, of no width, of two code points, and right to left.
awkward = st.sampled_from(
    ["é", "e\u0301", "👩🏽\u200d🚀", "🇫🇷", "東京", "각", "שָׁ", "\u00a0", "  ", "İ", "ﬁ"]
)
pieces = st.lists(st.text(st.characters(codec="utf-8"), max_size=6) | awkward, max_size=5)
blank_or_text = pieces.map("".join)
answers = blank_or_text.filter(lambda text: text and not text.isspace())


@pytest.mark.parametrize("name", ["roberta", "bert"])
@given(before=blank_or_text, answer=answers, after=blank_or_text)
@example(before="in ", answer="  1889  ", after="  by")
def test_answers_in_any_text_are_labelled(
    name: str, build: Build, request: pytest.FixtureRequest, before: str, answer: str, after: str
) -> None:
    passage = f"{before}{answer}{after} a"
    question = Question("q", "?", (GoldAnswer(answer, len(before)),))
    folder: Path = request.getfixturevalue(f"{name}_folder")
    features = build(squad(Passage(passage, "", (question,))), folder, RECIPE)
    start, end = len(before), len(before) + len(answer)
    spans = spans_of(features, 0)
    labels = labels_of(features, 0)
    if not any(max(s, start) < min(e, end) for s, e in spans):
        # BERT drops some characters; RoBERTa drops none.
        assert name == "bert"
        assert labels == []
        assert features.counts.beyond_windows == features.counts.inside_tokens == 1
        return
    (label,) = labels
    assert (label.first, label.last) == slow_cover(spans, start, end)
    assert label.text in passage
    if name == "roberta":
        assert answer.strip() in label.text
        assert cuts_a_token(spans, start, end) or label.text == answer.strip()
        assert features.counts.inside_tokens == (label.text.strip() != answer.strip())


def test_every_text_is_encoded_once() -> None:
    """Three paragraphs, two of them the same, and one without questions; counted by hand."""
    letters = Letters()
    one, two, three = (Question(name, f"{name}?", ()) for name in ("one", "two", "three"))
    dataset = squad(
        Passage("again and again", "", (one,)),
        Passage("another", "", (two,)),
        Passage("again and again", "", (three,)),
        Passage("unasked", "", ()),
    )
    features = letters.features(dataset, SMALL)
    assert letters.passages_seen == ["again and again", "another", "unasked"]
    assert sorted(letters.questions_seen) == ["one?", "three?", "two?"]
    # A passage's questions stand together, whichever paragraph asks them.
    assert features.question_ids.to_pylist() == ["one", "three", "two"]
    assert features.question_passage.tolist() == [0, 0, 1]
    assert features.passage_texts.to_pylist() == letters.passages_seen


def rows_of(features: Features) -> dict[str, Any]:
    """All that features hold, however it lies in their file."""
    passages = features.passages
    ragged = (
        *(passages.tokens, passages.char_start, passages.char_end, features.question_tokens),
        *(features.tokens_with_text, features.passage_letters),
    )
    return {
        "meta": features.meta,
        "counts": features.counts,
        "texts": features.passage_texts.to_pylist(),
        "ids": features.question_ids.to_pylist(),
        "rows": [[rows[number].tolist() for number in range(len(rows.lengths))] for rows in ragged],
        "question_passage": features.question_passage.tolist(),
        "windows": [column.tolist() for column in dataclasses.astuple(features.windows)],
        "window_tokens": features.window_tokens.tolist(),
    }


def in_pieces(
    passages: Iterable[Passage], build: Callable[[SquadDataset], pa.RecordBatch], characters: int
) -> Features:
    with mock.patch("roberta_squad_pipeline.features.build._PIECE_CHARACTERS", characters):
        batches = build_features_in_pieces(passages, build)
        sink = pa.BufferOutputStream()
        write_features(batches, batches.schema, sink)
    return Features.open(sink.getvalue())


@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=30), st.integers(0, 3)), max_size=8),
    st.integers(1, 60),
)
@example([], 1)
def test_many_pieces_hold_what_one_holds(shapes: list[tuple[str, int]], characters: int) -> None:
    """Value by value, whatever the size of a piece; no two passages are the same."""
    passages = [
        Passage(
            f"{number}{text}",
            "",
            tuple(
                Question(
                    f"{number}.{n}", "?" * (n + 1), (GoldAnswer(text[n:], 1 + n),)[: len(text) - n]
                )
                for n in range(asked)
            ),
            misaligned=number,
        )
        for number, (text, asked) in enumerate(shapes)
    ]
    build = partial(Letters().batch, windows=SMALL)
    whole = Features.from_batch(build(passages))
    assert rows_of(in_pieces(iter(passages), build, characters)) == rows_of(whole)
    assert whole.counts.misaligned == sum(range(len(shapes)))


def test_letters_and_visible_tokens_by_hand() -> None:
    """The lowest byte of U+4E16 is 0x16."""
    features = Letters().features(
        squad(Passage("ab  c", "", ()), Passage("\u4e16", "", ()), Passage("d", "", ())), SMALL
    )
    letters, visible = (
        [rows[number].tolist() for number in range(3)]
        for rows in (features.passage_letters, features.tokens_with_text)
    )
    assert letters == [list(b"ab  c"), [0x16], [ord("d")]]
    starts, ends = features.passages.char_start, features.passages.char_end
    assert visible == [(starts[number] != ends[number]).tolist() for number in range(3)]


def test_real_questions_in_many_pieces(shared: Path) -> None:
    passages = read_squad(shared / "squad/dev-sample.json", on_misaligned="error").passages[:40]
    build = partial(
        build_features,
        tokenizer=PassageTokenizer.load(str(shared / "roberta-tokenizer")),
        windows=RECIPE,
        source="dev.json",
        data_sha256="2" * 64,
    )
    whole = Features.from_batch(build(passages))
    assert rows_of(in_pieces(passages, build, 5_000)) == rows_of(whole)


def test_a_passage_that_comes_again_in_another_piece() -> None:
    """It has two rows then, and every question its own labels all the same."""
    one, two = (Question(name, "?", (GoldAnswer("abc", 0),)) for name in ("one", "two"))
    passages = [Passage("abcdefgh", "", (one,)), Passage("abcdefgh", "", (two,))]
    features = in_pieces(passages, partial(Letters().batch, windows=SMALL), 1)
    assert features.passage_texts.to_pylist() == ["abcdefgh", "abcdefgh"]
    assert features.question_passage.tolist() == [0, 1]
    assert labels_of(features, 0) == labels_of(features, 1)


def test_few_pieces_are_held_at_once() -> None:
    """Of 50 pieces no more than a few have been read when the first is there."""
    read = []

    def passages() -> Iterator[Passage]:
        for number in range(50):
            read.append(number)
            yield Passage(f"passage {number}", "", (Question(str(number), "?", ()),))

    with mock.patch("roberta_squad_pipeline.features.build._PIECE_CHARACTERS", 1):
        batches = build_features_in_pieces(passages(), partial(Letters().batch, windows=SMALL))
        for number, _ in enumerate(batches):
            assert len(read) <= number + 5
    assert len(read) == 50


def test_columns_by_hand() -> None:
    """`abcdefgh` is abc·def·gh; room for 15 - 3 - 8 = 4 tokens beside a question of 8."""
    yes = Question("yes", "12345678", (GoldAnswer("de", 3), GoldAnswer("gh", 6)))
    no = Question("no", "12", ())
    far = Question("far", "12345678", (GoldAnswer("ABCDEFGHIJKLMNO", 0),))
    features = Letters().features(
        squad(Passage("abcdefgh", "", (yes, no)), Passage("ABCDEFGHIJKLMNO", "", (far,))), SMALL
    )
    assert features.passages.tokens[0].tolist() == [ord(letter) for letter in "adg"]
    assert features.question_tokens[1].tolist() == [ord(letter) for letter in "12"]
    windows = features.windows
    assert windows.question.tolist() == [0, 1, 2, 2]
    assert windows.first.tolist() == [0, 0, 0, 2]
    assert windows.count.tolist() == [3, 3, 4, 3]
    assert (windows.start.tolist(), windows.end.tolist()) == ([2, 0, 0, 0], [2, 0, 0, 0])
    assert features.window_tokens.tolist() == [14, 8, 15, 14]
    # "de" leaves the f of its token over; no window holds all five tokens of the last answer.
    assert features.counts.inside_tokens == 1
    assert features.counts.beyond_windows == 1
    assert features.meta.windows == SMALL
    assert features.meta.tokenizer == IDENTITY
    assert features.meta.data_sha256 == "2" * 64


def test_answers_that_no_window_holds_are_counted_apart() -> None:
    """Two that a window holds, one of them from its first token on, and one that none does."""
    asked = (
        Question("1", "?", (GoldAnswer("abc", 0),)),
        Question("2", "?", (GoldAnswer("def", 3),)),
    )
    far = Question("far", "12345678", (GoldAnswer("ABCDEFGHIJKLMNO", 0),))
    passages = (Passage("abcdefgh", "", asked), Passage("ABCDEFGHIJKLMNO", "", (far,)))
    counts = Letters().features(squad(*passages), SMALL).counts
    assert (counts.beyond_windows, counts.inside_tokens) == (1, 0)


def test_every_window_that_holds_a_gold_answer_is_labelled() -> None:
    """Three windows of [0, 12), [6, 18) and [12, 24) characters, by hand.

    The last one holds the second answer alone; the third answer fits no window, and the place of
    the fourth is not known.
    """
    text = "abcdefghijklmnopqrstuvwx"
    spans = [(3, 6), (18, 20), (0, 24), (3, 6)]
    gold = tuple(GoldAnswer(text[start:end], start) for start, end in spans)
    several = Question("several", "12345678", gold, misplaced=("nowhere",))
    one = Question("one", "12345678", gold[:1])
    unplaced = Question("unplaced", "12345678", (), misplaced=("nowhere",))
    features = Letters().features(squad(Passage(text, "", (several, one, unplaced))), SMALL)
    assert features.windows.first.tolist() == [0, 2, 4] * 3
    labels = [[label.text for label in labels_of(features, row)] for row in range(3)]
    # The tokens of "st" are those of "stu".
    assert labels == [["def", "stu"], ["def"], []]
    counts = features.counts
    assert (counts.windows, counts.labelled, counts.labelled_of_several) == (9, 3, 2)
    assert (counts.inside_tokens, counts.beyond_windows) == (1, 0)
    assert features.gold["several"] == ("def", "st", text, "def", "nowhere")
    assert features.gold["unplaced"] == ("nowhere",)


def test_windows_of_unlabelled_questions_have_no_label(
    build: Build, tiny_squad: SquadDataset, bert_folder: Path, window_config: WindowConfig
) -> None:
    """Oracle: the same questions with labels; all else is equal."""
    first, *others = tiny_squad.passages
    asked = tuple(
        dataclasses.replace(one, answers=(), plausible=None, unlabelled=True)
        for one in first.questions
    )
    some = build(
        squad(dataclasses.replace(first, questions=asked), *others), bert_folder, window_config
    )
    every = build(tiny_squad, bert_folder, window_config)
    unlabelled = every.windows.question < len(asked)
    for name in ("start", "end"):
        known = getattr(every.windows, name)
        assert (getattr(some.windows, name) == np.where(unlabelled, UNLABELLED, known)).all()
    assert some.counts.unlabelled == unlabelled.sum() > 1
    assert every.counts.unlabelled == 0
    assert some.window_tokens.tolist() == every.window_tokens.tolist()
    # None of them is thinned out as empty.
    thinning = thinning_of(some.windows, 0.0)
    assert thinning is not None
    assert not thinning.thinned[unlabelled].any()


def test_questions_that_are_cut_are_counted() -> None:
    """SMALL keeps eight tokens; two of the questions have more, in pieces of their own."""
    passages = [
        Passage(f"passage {number}", "", (Question(str(number), "?" * length, ()),))
        for number, length in enumerate((8, 11, 9, 1))
    ]
    features = in_pieces(passages, partial(Letters().batch, windows=SMALL), 1)
    assert features.question_tokens.lengths.tolist() == [8, 8, 8, 1]
    assert (features.counts.cut_questions, features.counts.longest_question) == (2, 11)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=5), st.data()
)
def test_passages_do_not_get_in_each_other_s_way(
    shapes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Law: a question's labels are those that it has when its passage is alone in the file."""
    passages = []
    for number, (length, questions) in enumerate(shapes):
        text = chr(ord("a") + number) * length
        bounds = st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)).map(sorted)
        asked = []
        for n in range(questions):
            start, last = data.draw(bounds)
            asked.append(
                Question(f"{number}.{n}", "?", (GoldAnswer(text[start : last + 1], start),))
            )
        passages.append(Passage(text, "", tuple(asked)))
    together = Letters().features(squad(*passages), SMALL)
    alone = [Letters().features(squad(passage), SMALL) for passage in passages]
    assert [labels_of(together, row) for row in range(len(together.question_ids))] == [
        labels_of(one, row) for one in alone for row in range(len(one.question_ids))
    ]


@pytest.mark.parametrize("texts", [["\x00", "fine"], ["fine", "\x00"], ["\x00"]])
def test_passage_without_tokens_is_named(build: Build, bert_folder: Path, texts: list[str]) -> None:
    """BERT's normaliser drops control characters."""
    passages = [Passage(text, "", (Question(text, "?", ()),)) for text in texts]
    with pytest.raises(InputError, match=r"train.json: got the passage '\\x00'") as caught:
        build(squad(*passages), bert_folder, RECIPE)
    assert caught.value.expected == "passages of at least one token"
    assert "Remove this passage" in caught.value.remedy


def test_other_arrow_data_is_refused() -> None:
    batch = pa.record_batch({"text": ["a"]})
    with pytest.raises(InputError, match=r"other data.*kedro run --pipeline features"):
        Features.from_batch(batch)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"format_version":4', '"format_version":3'), "of an older release; expected format"),
        (('"format_version":4', '"format_version":5'), "of a newer release; expected format"),
        (("{", "["), "a wrong header"),
    ],
)
def test_another_format_version_is_refused(change: tuple[str, str], said: str) -> None:
    batch = Letters().batch([Passage("a", "", (Question("q", "?", ()),))], SMALL)
    metadata = {
        key: value.decode().replace(*change) for key, value in batch.schema.metadata.items()
    }
    with pytest.raises(InputError, match=rf"{said}.* 4.*kedro run --pipeline features"):
        Features.from_batch(batch.replace_schema_metadata(metadata))
