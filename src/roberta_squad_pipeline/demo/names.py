"""Invented names, each of which belongs to one split only, and numbers."""

import random
import re
import zlib
from collections.abc import Callable
from typing import Literal

from roberta_squad_pipeline.demo.phrases import PHRASES

Split = Literal["train", "dev", "pretraining"]

_BUCKETS = 8
_DEV_BUCKETS = range(0, 1)
_TRAIN_BUCKETS = range(1, 3)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ONSETS = _parts(
    "b br c cl cr d dr f fl fr g gl gr h j k kr l m n p pl pr qu r s sh sk sl sn st t th tr v w y z"
)
_VOWELS = _parts("a a a a e e e e i i i i o o o o u u u ai ea oa")
_BEFORE_CONSONANT = _parts("l ll m n nd ng nk r rd rk rl rn rt s sk ss st t v x")
_BEFORE_VOWEL = _parts(
    "b br d dr g l lb ld lg lm ln lt lv m mb mm mp n nd ndr nn nt p pp r rb rd rg rk rl rm rn rr rs"
    " rt rv s sk sp ss st str t th tt v x z"
)
_ENDINGS = {
    "given": _parts("a an e el en ia ie in is o on or us y"),
    "surname": _parts("ack and ard ell ek er eth ick in ing ock off ow und"),
    "town": _parts("borough bury by dale field ford gate ham haven holm mouth stead ton wick"),
    "river": _parts("a ane e el en er esk ine is one ow une"),
    "ship": _parts("a ada ain ara elle ena ess ida ine ira ona ora"),
    "company": _parts("an el en er ett ick in ins om on op ott"),
    "instrument": _parts("ane elle erne ette ina ine ola one ora une"),
    "mountain": _parts("ag ak ar arn en eth ond or oth uk und ur"),
}
FORMS = {
    "person": "{given} {surname}",
    "town": "{town}",
    "river": "{river}",
    "company": "{company} {suffix}",
    "bridge": "the {surname} Bridge",
    "mountain": "Mount {mountain}",
    "ship": "the {ship}",
    "instrument": "the {instrument}",
}
"""Names by kind, made of words with the endings of a style."""
_COMPANY_SUFFIXES = ("Works", "& Sons", "Brothers", "Limited", "& Daughters", "Company")


def split_of(word: str) -> Split:
    """The one split in which an invented word may occur, in every version and on every machine."""
    bucket = zlib.crc32(word.encode()) % _BUCKETS
    if bucket in _DEV_BUCKETS:
        return "dev"
    return "train" if bucket in _TRAIN_BUCKETS else "pretraining"


class Values:
    """Makes up the names and numbers of one passage.

    No value comes twice, so that an answer occurs once in its passage, nor does any invented word.

    Args:
        rng: Source of all randomness.
        split: Where the names belong.
    """

    def __init__(self, rng: random.Random, split: Split) -> None:
        self._rng = rng
        self._split = split
        self._used: set[str] = set()
        self._words: set[str] = set()
        self._numbers: dict[str, Callable[[], str]] = {
            "year": lambda: str(rng.randint(1450, 1989)),
            "people": lambda: f"{rng.randint(1, 49)},{rng.randint(0, 99):02d}0",
            "metres": lambda: f"{rng.randint(20, 1400)} metres",
            "strings": lambda: str(rng.randint(3, 36)),
        }

    def draw(self, kind: str) -> str:
        """A value of a fact.

        Args:
            kind: See `phrases.FactType.value`.
        """
        while True:
            if kind in PHRASES.closed_values:
                value = self._rng.choice(PHRASES.closed_values[kind])
            else:
                value = self._numbers[kind]() if kind in self._numbers else self.name(kind)
            # The number alone counts: "120 metres" and "120 strings" would share a span.
            key = value.split()[0] if value[0].isdigit() else value
            if key not in self._used:
                self._used.add(key)
                return value

    def name(self, kind: str) -> str:
        """A name as it stands in the middle of a sentence: "the Skarine Bridge".

        Args:
            kind: One of `FORMS`.
        """
        return re.sub(r"{(\w+)}", lambda style: self._word(style[1]), FORMS[kind])

    def _word(self, style: str) -> str:
        rng = self._rng
        if style == "suffix":
            return rng.choice(_COMPANY_SUFFIXES)
        while True:
            ending = rng.choice(_ENDINGS[style])
            middles = _BEFORE_VOWEL if ending[0] in "aeiouy" else _BEFORE_CONSONANT
            word = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(middles) + ending
            word = word.capitalize()
            if word not in self._words and split_of(word) == self._split:
                self._words.add(word)
                return word
