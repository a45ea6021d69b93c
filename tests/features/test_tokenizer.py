"""Tokenizers at work on whole lists of texts.

Oracle: for byte-level BPE the bytes that each token stands for, laid along the text's own UTF-8;
for others, what the texts hold by construction.
"""

import json
import unicodedata
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.features.words import TokenRows

Spans = list[tuple[int, int]]


# Characters of one to four bytes, of no width, of two code points, and right to left.
awkward = st.sampled_from(
    [
        "é",
        "e\u0301",
        "👩🏽\u200d🚀",
        "🇫🇷",
        "東京",
        "각",
        "שָׁלוֹם",
        "\u00a0",
        "\u3000",
        "  ",
        "\n",
        "İ",
        "ß",
        ".",
    ]
)
texts = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=8) | awkward | st.sampled_from(["river", " a"]),
    min_size=1,
    max_size=8,
).map("".join)


@pytest.fixture(scope="module")
def roberta(roberta_folder: Path) -> PassageTokenizer:
    return PassageTokenizer.load(str(roberta_folder))


@pytest.fixture(scope="module")
def bert(bert_folder: Path) -> PassageTokenizer:
    return PassageTokenizer.load(str(bert_folder))


@pytest.fixture(scope="module")
def real_roberta(shared: Path) -> PassageTokenizer:
    return PassageTokenizer.load(str(shared / "roberta-tokenizer"))


def bytes_of_characters() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes come after it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + n): byte for n, byte in enumerate(rest)}


BYTES = bytes_of_characters()


def slow_spans(tokenizer: PreTrainedTokenizerFast, ids: list[int], text: str) -> Spans:
    """Characters of each token, white space around it aside, from the bytes it stands for."""
    character_of = [n for n, character in enumerate(text) for _ in character.encode()]
    pieces = [
        bytes(map(BYTES.__getitem__, t)) for t in tokenizer.pretrained.convert_ids_to_tokens(ids)
    ]
    assert b"".join(pieces) == text.encode()
    spans = []
    for end, piece in zip(accumulate(map(len, pieces)), pieces, strict=True):
        own = character_of[end - len(piece) : end]
        kept = [character for character in own if not text[character].isspace()]
        spans.append((kept[0], kept[-1] + 1) if kept else (own[-1] + 1,) * 2)
    return spans


def rows_of(
    tokenizer: PreTrainedTokenizerFast, passages: list[str]
) -> list[tuple[Spans, list[int]]]:
    encoded = tokenizer.passages(passages)
    return [
        (
            list(
                zip(encoded.char_start[row].tolist(), encoded.char_end[row].tolist(), strict=True)
            ),
            encoded.tokens[row].tolist(),
        )
        for row in range(len(passages))
    ]


@given(st.lists(texts, min_size=1, max_size=3))
@example(["a <mask> b</s>", "", "  "])
def test_byte_level_offsets_are_exact(
    roberta: PreTrainedTokenizerFast, passages: list[str]
) -> None:
    for text, (spans, ids) in zip(passages, rows_of(roberta, passages), strict=True):
        assert spans == slow_spans(roberta, ids, text)


@given(st.lists(texts, min_size=8, max_size=12))
def test_offsets_of_the_real_tokenizer_are_exact(
    real_roberta: PreTrainedTokenizerFast, passages: list[str]
) -> None:
    for text, (spans, ids) in zip(passages, rows_of(real_roberta, passages), strict=True):
        assert spans == slow_spans(real_roberta, ids, text)
        assert real_roberta.pretrained.decode(ids) == text


@given(st.lists(texts, min_size=1, max_size=3))
@example(["", "a", ""])
@example(["[MASK] [SEP]"])
def test_word_piece_offsets_go_forward_through_the_text(
    bert: PreTrainedTokenizerFast, passages: list[str]
) -> None:
    """Every span is a part of the text; letters that BERT keeps lie in a span."""
    for text, (spans, ids) in zip(passages, rows_of(bert, passages), strict=True):
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert spans == sorted(spans)
        assert not set(ids) & set(bert.pretrained.all_special_ids) - {bert.pretrained.unk_token_id}
        covered = {character for start, end in spans for character in range(start, end)}
        assert covered >= {n for n, character in enumerate(text) if "a" <= character <= "z"}


# Where XLM-R's normaliser drops a control character before the first word, tokenizers itself loses
# count of the characters.
printable = texts.map(
    lambda text: "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")
)


@given(passages=st.lists(printable, min_size=1, max_size=3))
@example(passages=["", " a", "a ", "\u3000a\n\nb\xa0 c\t"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_white_space_belongs_to_no_token(family_folder: Path, passages: list[str]) -> None:
    """SentencePiece and ModernBERT count the space before a word to it."""
    tokenizer = PassageTokenizer.load(str(family_folder))
    for text, (spans, ids) in zip(passages, rows_of(tokenizer, passages), strict=True):
        assert all(0 <= start <= end <= len(text) for start, end in spans)
        assert [start for start, _ in spans] == sorted(start for start, _ in spans)
        assert [end for _, end in spans] == sorted(end for _, end in spans)
        pieces = [text[start:end] for start, end in spans]
        assert pieces == [piece.strip() for piece in pieces]
        covered = {character for start, end in spans for character in range(start, end)}
        assert covered >= {n for n, character in enumerate(text) if "a" <= character <= "z"}
        assert not set(ids) & set(tokenizer.pretrained.all_special_ids) - {
            tokenizer.pretrained.unk_token_id
        }


@pytest.mark.parametrize("family", ["deberta-v2", "xlm-roberta"])
def test_spaces_that_sentence_piece_puts_there(
    family: str, encoder_of: Callable[[str], Path]
) -> None:
    """By hand: before `T` it puts a piece of its own, which is no character of the text."""
    tokenizer = PassageTokenizer.load(str(encoder_of(family)))
    text = "The bridge"
    [(spans, ids)] = rows_of(tokenizer, [text])
    pieces = tokenizer.pretrained.convert_ids_to_tokens(ids)
    assert pieces[:4] == ["\u2581", "T", "he", "\u2581br"]
    assert spans[:4] == [(0, 0), (0, 1), (1, 3), (4, 6)]


MARKED = [
    "हिन्दी में किताब",
    "น้ำที่ ผู้",
    unicodedata.normalize("NFD", "café naïve Ångström"),
    unicodedata.normalize("NFD", "한국어 각"),
]
"""Words that end in vowel signs, tone marks, accents, and parts of Korean syllables."""


def as_bert_uncased() -> tuple[Tokenizer, trainers.Trainer]:
    """Accents and most vowel signs are stripped."""
    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainers.WordPieceTrainer(special_tokens=["[UNK]"], show_progress=False)


def as_modernbert() -> tuple[Tokenizer, trainers.Trainer]:
    """Letters and marks are composed, then cut into bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)


def as_xlm_roberta() -> tuple[Tokenizer, trainers.Trainer]:
    """Letters and marks are composed in the compatible form, then cut into pieces."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = {"special_tokens": ["<unk>"], "unk_token": "<unk>"}
    return tokenizer, trainers.UnigramTrainer(show_progress=False, **special)


@pytest.mark.parametrize("form", [as_bert_uncased, as_modernbert, as_xlm_roberta])
def test_marks_belong_to_the_token_before_them(
    form: Callable[[], tuple[Tokenizer, trainers.Trainer]],
) -> None:
    """Oracle: the words between the spaces, each of which ends where a token ends."""
    backend, trainer = form()
    backend.train_from_iterator(MARKED * 3, trainer)
    given = PreTrainedTokenizerFast(tokenizer_object=backend)
    cut_short = 0
    for text, (spans, _) in zip(
        MARKED, rows_of(PassageTokenizer(given, "mine"), MARKED), strict=True
    ):
        words = {n for n in range(1, len(text) + 1) if text[n : n + 1] in {"", " "}}
        assert words <= {end for _, end in spans}
        covered = {character for start, end in spans for character in range(start, end)}
        assert covered == {n for n, character in enumerate(text) if character != " "}
        assert spans == sorted(spans)
        theirs = backend.encode(text, add_special_tokens=False).offsets
        cut_short += len(words - {end for _, end in theirs})
    # What the tokenizer says itself misses words in all three forms.
    assert cut_short


def test_marks_that_no_letter_is_before_belong_to_no_token(bert: PassageTokenizer) -> None:
    """At a passage's beginning, and after a space; BERT strips them."""
    rows = rows_of(bert, ["a", "\u0301a \u0301 a\u0301\u0302", "\u0301"])
    assert [spans for spans, _ in rows] == [[(0, 1)], [(1, 2), (5, 8)], []]


@given(st.lists(texts, max_size=4))
def test_rows_are_those_of_each_text_alone(
    roberta: PreTrainedTokenizerFast, passages: list[str]
) -> None:
    alone = [row for text in passages for row in rows_of(roberta, [text])]
    assert rows_of(roberta, passages) == alone


def test_more_texts_than_are_encoded_at_once(roberta: PreTrainedTokenizerFast) -> None:
    """Lengths by hand: one byte, one token."""
    lengths = [1 + n % 3 for n in range(5000)]
    encoded = roberta.passages(["\x7f" * length for length in lengths])
    assert encoded.tokens.lengths.tolist() == lengths


def test_texts_in_a_row_may_be_without_tokens(bert: PreTrainedTokenizerFast) -> None:
    """BERT's normaliser drops control characters."""
    lengths = bert.passages(["\x00", "a a", "\x00", "a", "\x00"]).tokens.lengths
    assert lengths.tolist() == [0, 2, 0, 1, 0]


def test_marks_in_a_text_are_text(family_folder: Path) -> None:
    """A passage that speaks of `</s>` must not end the window's passage there."""
    tokenizer = PassageTokenizer.load(str(family_folder))
    theirs = tokenizer.pretrained
    text = f"a {theirs.sep_token} b {theirs.pad_token}{theirs.mask_token}"
    encoded = tokenizer.passages([text]).tokens.values
    asked = tokenizer.questions([text], "question_first").values
    special = set(theirs.all_special_ids) - {theirs.unk_token_id}
    assert not special & {*encoded.tolist(), *asked.tolist()}


def test_question_stands_after_its_prefix(real_roberta: PreTrainedTokenizerFast) -> None:
    """The recipe's literal ` Q: `; ids of RoBERTa's vocabulary looked up in it."""
    vocabulary = real_roberta.pretrained.get_vocab()
    questions = real_roberta.questions(["When was it?", " \tWho? \n"], "passage_first")
    assert questions[0].tolist() == [
        vocabulary[t] for t in ["ĠQ", ":", "ĠWhen", "Ġwas", "Ġit", "?"]
    ]
    assert questions[1].tolist() == [vocabulary[t] for t in ["ĠQ", ":", "ĠWho", "?"]]


def test_a_question_that_comes_first_has_no_prefix(real_roberta: PreTrainedTokenizerFast) -> None:
    """Its ids are those of transformers' own pair, in which it comes first."""
    asked = real_roberta.questions([" When was it?"], "question_first")
    pair = real_roberta.pretrained("When was it?", "In 1889.")["input_ids"]
    assert asked[0].tolist() == pair[1 : 1 + len(asked[0])]


@given(
    st.lists(texts, min_size=1, max_size=3),
    st.integers(1, 30),
    st.sampled_from([("passage_first", " Q: "), ("question_first", "")]),
)
def test_questions_are_cut_to_their_first_tokens(
    roberta: PreTrainedTokenizerFast, questions: list[str], limit: int, form: tuple[Order, str]
) -> None:
    """Law: a cut question is the beginning of the whole one."""
    order, prefix = form
    whole = roberta.questions(questions, order)
    cut = whole.cut(limit)
    for row, question in enumerate(questions):
        assert roberta.pretrained.decode(whole[row]) == prefix + question.strip()
        assert cut[row].tolist() == whole[row][:limit].tolist()


def test_truncation_and_padding_of_the_tokenizer_are_left_alone(
    roberta_folder: Path,
) -> None:
    tokenizer = PassageTokenizer.load(str(roberta_folder))
    tokenizer.pretrained.backend_tokenizer.enable_truncation(3)
    tokenizer.pretrained.backend_tokenizer.enable_padding(length=3)
    assert tokenizer.passages(["abcdefgh", "a"]).tokens.lengths.tolist() == [8, 1]
    assert tokenizer.pretrained.backend_tokenizer.truncation["max_length"] == 3


def test_identity_tells_tokenizers_apart(
    roberta: PreTrainedTokenizerFast, bert: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """The same tokenizer saved and loaded is the same, another is another."""
    roberta.pretrained.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    again = PassageTokenizer.load(str(tmp_path)).identity
    mine, other = roberta.identity, bert.identity
    assert mine.sha256 == again.sha256 != other.sha256
    assert mine.special_tokens.model_dump() == {
        "cls": 0,
        "sep": 2,
        "pad": 1,
        "pair_separators": 2,
    }
    assert other.special_tokens.pair_separators == 1
    assert other.special_tokens.model_dump(exclude={"pair_separators"}) == {
        name: bert.pretrained.get_vocab()[f"[{name.upper()}]"] for name in ("cls", "sep", "pad")
    }
    assert (mine.entries, other.entries) == (
        len(roberta.pretrained.get_vocab()),
        len(bert.pretrained.get_vocab()),
    )


def test_decoder_lacks_the_tokens_of_a_window() -> None:
    unigram = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(Unigram([("a", 0.0)])))
    tokenizer = PassageTokenizer(unigram, "mine")
    with pytest.raises(InputError, match="mine: got a tokenizer without a cls and sep and pad"):
        _ = tokenizer.identity


def test_offsets_that_jump_backwards_are_refused(
    roberta: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A made-up encoding, of the second passage alone."""

    class Encoding:
        def __init__(self, offsets: Spans) -> None:
            self.ids, self.offsets = [5] * len(offsets), offsets

    rows = [Encoding([(0, 1), (4, 5)]), Encoding([(2, 3), (1, 4)])]
    monkeypatch.setattr(PassageTokenizer, "_encode", lambda *_: TokenRows.of_encodings(rows))
    with pytest.raises(InputError, match="jump backwards"):
        roberta.passages(["eight", "nine"])
    rows[1] = Encoding([(0, 3), (0, 3), (3, 4)])
    start = roberta.passages(["eight", "nine"]).char_start
    assert [start[0].tolist(), start[1].tolist()] == [[0, 4], [0, 0, 3]]


def faulty_folder(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


ROBERTA = json.dumps({"model_type": "roberta"})


@pytest.mark.parametrize(
    ("files", "got"),
    [
        ({}, "a folder that holds nothing"),
        ({"config.json": ROBERTA}, "a folder that holds config.json"),
        ({"config.json": "[]"}, "a folder that holds config.json"),
        ({"config.json": ROBERTA, "tokenizer.json": "{"}, "config.json, tokenizer.json"),
    ],
)
def test_folder_without_a_tokenizer_is_named(
    tmp_path: Path, files: dict[str, str], got: str
) -> None:
    folder = faulty_folder(tmp_path, files)
    with pytest.raises(InputError) as caught:
        PassageTokenizer.load(str(folder))
    assert caught.value.where == f"model.encoder={folder}"
    assert got in caught.value.got
    assert "save_pretrained" in caught.value.expected


@pytest.mark.parametrize("encoder", ["/no/such/folder", "nobody/no-such-model"])
def test_encoder_that_is_nowhere_is_named(encoder: str) -> None:
    with pytest.raises(InputError, match=f"model.encoder={encoder}: got no such folder"):
        PassageTokenizer.load(encoder)
