"""The embedded data set is what its description says; see also `test_reading.py`."""

import hashlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
from itertools import chain, pairwise
from typing import Any

import pytest

from roberta_squad_pipeline.demo.generator import generate
from roberta_squad_pipeline.demo.names import split_of
from roberta_squad_pipeline.demo.phrases import (
    PHRASES,
    FactType,
    Kind,
)

SQuAD = dict[str, Any]

# Capitalised words that are not invented.
_ENGLISH = {"Bridge", "Brothers", "Company", "Daughters", "Limited", "Mount", "Sons", "Sunday"}
_ENGLISH |= {"Works"}


def _paragraphs(squad: SQuAD) -> list[SQuAD]:
    return [paragraph for article in squad["data"] for paragraph in article["paragraphs"]]


def _questions(squad: SQuAD) -> list[SQuAD]:
    return [question for paragraph in _paragraphs(squad) for question in paragraph["qas"]]


def _invented_words(squad: SQuAD) -> set[str]:
    """Capitalised words within sentences."""
    texts = [paragraph["context"] for paragraph in _paragraphs(squad)]
    return set(re.findall(r"(?<=[a-z,&] )[A-Z]\w+", "\n".join(texts))) - _ENGLISH


def test_the_data_are_the_same_everywhere(train: SQuAD, dev: SQuAD) -> None:
    # Oracle: the digests of the first run; a change of them changes every figure on this data.
    digests = [
        hashlib.sha256(json.dumps(squad, sort_keys=True).encode()).hexdigest()
        for squad in (train, dev)
    ]
    assert digests == [
        "165daa92884794ce2b6e3d8c0ef41eaabba62491fe8b753867a3ae5315263870",
        "4c5d2a940c178735d172841c97fce725e3fffee71e00e244a6e107b43feca8e5",
    ]


def test_the_generator_needs_no_library_beyond_pythons_own() -> None:
    code = (
        "import sys, roberta_squad_pipeline.demo.generator;"
        "print(sorted({'numpy', 'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_sizes_and_proportions_are_those_promised(train: SQuAD, dev: SQuAD) -> None:
    for squad, at_least in ((train, 3000), (dev, 500)):
        questions = _questions(squad)
        unanswerable = sum(question["is_impossible"] for question in questions)
        assert len(questions) >= at_least
        assert 0.35 <= unanswerable / len(questions) <= 0.5
        assert {len(paragraph["qas"]) for paragraph in _paragraphs(squad)} == {5, 6, 7, 8}
        assert len({question["id"] for question in questions}) == len(questions)


def test_every_answer_stands_at_its_place_and_nowhere_else(train: SQuAD, dev: SQuAD) -> None:
    for paragraph in chain(_paragraphs(train), _paragraphs(dev)):
        passage = paragraph["context"]
        for question in paragraph["qas"]:
            assert question["is_impossible"] == (not question["answers"])
            for answer in question["answers"]:
                text = answer["text"]
                places = [
                    found.start() for found in re.finditer(rf"\b{re.escape(text)}\b", passage)
                ]
                assert places == [answer["answer_start"]]


def test_splits_share_no_invented_word(train: SQuAD, dev: SQuAD) -> None:
    for split, squad in (("train", train), ("dev", dev)):
        words = _invented_words(squad)
        assert len(words) > 500
        # Each word's one split follows from a checksum of the word: pre-training has none of them.
        assert {word for word in words if split_of(word) != split} == set()


def test_no_phrase_holds_a_value() -> None:
    """Otherwise an answer could stand in a passage twice."""

    def phrases(kind: Kind) -> list[str]:
        of_facts = [(f.predicates, f.sentences, f.asides) for f in kind.facts]
        return [*kind.openings, *kind.remarks, *chain.from_iterable(chain.from_iterable(of_facts))]

    for kind in PHRASES.kinds:
        words = set(re.findall(r"\w+", " ".join(phrases(kind)).lower()))
        for fact_type in kind.facts:
            assert words.isdisjoint(PHRASES.closed_values.get(fact_type.value, ()))


@pytest.mark.parametrize("kind", PHRASES.kinds, ids=lambda kind: kind.name)
def test_facts_are_said_and_asked_in_several_ways(kind: Kind) -> None:
    def ways(fact_type: FactType) -> tuple[int, int]:
        return len(fact_type.predicates + fact_type.sentences), len(fact_type.questions)

    said, asked = zip(*map(ways, kind.facts), strict=True)
    assert min(said) >= 5
    assert min(asked) >= 5
    # As many fact types for every kind, so that none is stated more often than others.
    assert len(kind.facts) == len(PHRASES.kinds[0].facts)


def test_questions_alone_do_not_tell_which_are_unanswerable() -> None:
    """A naive Bayes classifier on words and word pairs does no better than the larger class."""
    train, test = (
        [
            (_features(question["question"]), question["is_impossible"])
            for question in _questions(generate("train", passages=1000, seed=seed))
        ]
        for seed in (11, 12)
    )
    counts = {label: Counter(f for fs, y in train if y == label for f in fs) for label in (0, 1)}
    share = sum(label for _, label in train) / len(train)

    def log_odds(features: list[str]) -> float:
        odds = math.log(share / (1 - share))
        for feature in features:
            odds += math.log((counts[1][feature] + 1) / (counts[0][feature] + 1))
            odds -= math.log((counts[1].total() + 1) / (counts[0].total() + 1))
        return odds

    accuracy = sum((log_odds(fs) > 0) == label for fs, label in test) / len(test)
    larger_class = max(sum(y == label for _, y in test) for label in (0, 1)) / len(test)
    # About three standard errors of a share of 6,500.
    assert accuracy < larger_class + 0.018


def _features(question: str) -> list[str]:
    # Names occur in one passage only; as one mark they leave the form of the question.
    words = re.sub(r"(?<!^)\b[A-Z]\w+", "Name", question).split()
    return words + [" ".join(pair) for pair in pairwise(words)]
