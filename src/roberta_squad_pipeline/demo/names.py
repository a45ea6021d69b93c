"""Invented names, each of which belongs to one split only."""

import random
import re
import zlib
from typing import Literal

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


class Namer:
    """Makes up the names of one passage; no invented word comes twice.

    Args:
        rng: Source of all randomness.
        split: Where the names belong.
    """

    def __init__(self, rng: random.Random, split: Split) -> None:
        self._rng = rng
        self._split = split
        self.words: set[str] = set()

    def name(self, kind: str) -> str:
        """A name as it stands in the middle of a sentence: "the Skarine Bridge".

        Args:
            kind: One of `FORMS`.
        """
        return re.sub(r"{(\w+)}", lambda style: self._part(style[1]), FORMS[kind])

    def _part(self, style: str) -> str:
        if style == "suffix":
            return self._rng.choice(_COMPANY_SUFFIXES)
        return self._word(style)

    def _word(self, style: str) -> str:
        while True:
            rng = self._rng
            ending = rng.choice(_ENDINGS[style])
            middles = _BEFORE_VOWEL if ending[0] in "aeiouy" else _BEFORE_CONSONANT
            word = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(middles) + ending
            word = word.capitalize()
            if word not in self.words and split_of(word) == self._split:
                self.words.add(word)
                return word
