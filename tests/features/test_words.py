"""Tokens of texts out of those of their words. Oracle: the tokenizer itself, on the whole text."""

import random
import string
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

from roberta_squad_pipeline.features import words
from roberta_squad_pipeline.features.words import TokenRows, WordMemory, tokens_end_at_spaces
from tiny_encoders import MAKERS


def backend_of(folder: Path) -> Tokenizer:
    backend = Tokenizer.from_str(AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    return backend


@pytest.fixture(scope="module", params=["roberta", "bert", "real"])
def backend(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "real":
        return backend_of(request.getfixturevalue("shared") / "roberta-tokenizer")
    return backend_of(request.getfixturevalue(f"{request.param}_folder"))


@pytest.fixture(scope="module")
def memory(backend: Tokenizer) -> WordMemory:
    """One for all examples, so that later ones find words that earlier ones have left there."""
    return WordMemory(backend)


def assert_same(found: TokenRows, backend: Tokenizer, texts: Sequence[str]) -> None:
    whole = TokenRows.of_encodings(backend.encode_batch(texts, add_special_tokens=False))
    assert found.tokens.lengths.tolist() == whole.tokens.lengths.tolist()
    assert found.tokens.values.tolist() == whole.tokens.values.tolist()
    assert found.spans.tolist() == whole.spans.tolist()


spaces = st.sampled_from(
    [" ", "  ", "   ", "\n", " \n", "\n ", "\t", "\u00a0", "\u3000", "\x1c", ""]
)
pieces = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["river", "River's", "don't", "1,200", "</s>", "<mask>", "[SEP]", "e\u0301", "\u0301", "東京"]
)
texts = st.lists(pieces | spaces, max_size=9).map("".join)


@given(passages=st.lists(texts, max_size=4))
@example(passages=[])
@example(passages=["", " ", "a", " a", "a ", "a  a", "a \na", " \n a", "a\u00a0 a", "\n", "\na"])
@example(passages=[" Q: When?", "Q: When?", "When? When?"])
def test_a_text_has_the_tokens_of_its_words(
    backend: Tokenizer, memory: WordMemory, passages: list[str]
) -> None:
    assert_same(memory.encode(passages), backend, passages)


def made_up(count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)  # noqa: S311
    return ["".join(drawn.choices(string.ascii_letters + ".,'é", k=5)) for _ in range(count)]


def test_more_words_than_fit_into_a_line(backend: Tokenizer, memory: WordMemory) -> None:
    passages = [" ".join(made_up(1500, 1)), " ".join(made_up(700, 2))]
    assert_same(memory.encode(passages), backend, passages)


def test_all_words_are_forgotten_where_they_are_too_many(
    backend: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_MOST_WORDS", 50)
    memory = WordMemory(backend)
    known = made_up(40, 3)
    for passages in ([" ".join(known)], [" ".join([*known[:20], *made_up(20, 4)])], [*known[20:]]):
        assert_same(memory.encode(passages), backend, passages)


def test_threads_learn_at_the_same_time(
    backend: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the words are forgotten while others are looked up."""
    monkeypatch.setattr(words, "_MOST_WORDS", 150)
    memory = WordMemory(backend)
    pool = made_up(200, 5)
    passages = [[" ".join(pool[at : at + 120])] for at in range(80)]
    with ThreadPoolExecutor(4) as threads:
        for found, passage in zip(threads.map(memory.encode, passages), passages, strict=True):
            assert_same(found, backend, passage)


def test_every_word_is_tokenised_once(backend: Tokenizer) -> None:
    seen: list[str] = []

    class Counting:
        def encode_batch(self, lines: list[str], *, add_special_tokens: bool) -> list[object]:
            seen.extend(lines)
            return backend.encode_batch(lines, add_special_tokens=add_special_tokens)

    memory = WordMemory(Counting())
    memory.encode(["the river of the river", "the river"])
    memory.encode(["the river of a town"])
    # A text's first word is another than the same word after a space.
    found = sorted(word for line in seen for word in line.split())
    assert found == ["a", "of", "river", "the", "the", "town"]


def test_families_whose_tokens_end_at_spaces(encoder_of: Callable[[str], Path]) -> None:
    """Texts of the others are tokenised whole: SentencePiece, and a normaliser that composes."""
    holds = {family for family in MAKERS if tokens_end_at_spaces(backend_of(encoder_of(family)))}
    assert holds == {"roberta", "bert", "electra"}


def test_settings_under_which_tokens_cross_a_space(roberta_folder: Path) -> None:
    assert tokens_end_at_spaces(backend_of(roberta_folder))
    for changed in (
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Metaspace(),
    ):
        backend = backend_of(roberta_folder)
        backend.pre_tokenizer = changed
        assert not tokens_end_at_spaces(backend)
    backend = backend_of(roberta_folder)
    backend.add_tokens([AddedToken("of the", special=False)])
    assert not tokens_end_at_spaces(backend)
    backend = backend_of(roberta_folder)
    backend.model.dropout = 0.1
    assert not tokens_end_at_spaces(backend)
