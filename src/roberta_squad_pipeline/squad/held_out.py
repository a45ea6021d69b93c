"""Holds whole articles of a training file out for validation.

Questions on one article resemble each other, so a question whose article was trained on would say
little about questions on new articles.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.squad.paragraphs import sound, squad_paragraphs

_SEED = 0


class HeldOut(StrictModel):
    """Which articles are held out."""

    articles: tuple[int, ...]
    """Indices of the articles in the file, in rising order."""
    titles: tuple[str, ...]
    """The title of each; empty if the file gives none."""
    questions: int
    """Number of questions on these articles."""
    of_articles: int
    """Number of articles in the whole file."""
    of_questions: int
    """Number of questions in the whole file."""

    def __str__(self) -> str:
        """Says how many articles and questions are held out, and the titles."""
        named = ", ".join(dict.fromkeys(filter(None, self.titles))) or "without titles"
        return (
            f"{len(self.articles)} of {self.of_articles} articles with {self.questions} of "
            f"{self.of_questions} questions ({named})"
        )


class FilePart(StrictModel):
    """One of the two parts of a file: the held-out articles, or the others."""

    of: Literal["training", "validation"]
    held_out: HeldOut

    @property
    def articles(self) -> frozenset[int]:
        """Indices of this part's articles in the file."""
        held_out = frozenset(self.held_out.articles)
        if self.of == "validation":
            return held_out
        return frozenset(range(self.held_out.of_articles)) - held_out


def hold_out(path: Path, share: float) -> HeldOut:
    """Draws the articles of a file that are held out; always the same for equal files and shares.

    Args:
        path: A file of any form that `read_items` reads.
        share: The least share of its questions; above 0 and below 1.

    Raises:
        InputError: The file cannot be read, or no article would be left for training.
    """
    titles, questions = _articles(path)
    drawn = draw_articles(titles, questions, share)
    held = sum(questions[article] for article in drawn)
    if held == sum(questions):
        raise InputError(
            where=f"data.validation={share:g}",
            got=f"{path}, where that share of the questions takes all {len(questions)} articles, "
            f"with {held} questions",
            expected="articles that are left for training",
            remedy="Lower the share, or give data.validation the path of a file of its own.",
        )
    return HeldOut(
        articles=drawn,
        titles=tuple(titles[article] for article in drawn),
        questions=held,
        of_articles=len(questions),
        of_questions=sum(questions),
    )


def _articles(path: Path) -> tuple[list[str], list[int]]:
    """Title and number of questions of each article; articles without a passage have none."""
    titles: list[str] = []
    questions: list[int] = []
    for paragraph in map(sound, squad_paragraphs(path)):
        entry = paragraph.entry()
        for fault in entry.faults:
            raise fault
        missing = paragraph.article + 1 - len(titles)
        titles += [""] * missing
        questions += [0] * missing
        titles[paragraph.article] = paragraph.title
        questions[paragraph.article] += len(entry.questions)
    return titles, questions


def draw_articles(titles: Sequence[str], questions: Sequence[int], share: float) -> tuple[int, ...]:
    """Draws articles until they hold a share of all questions.

    Entries with the same title form one article and stay together. Each entry without a title is
    an article, and so is each entry of a file that has only one title.

    Args:
        titles: The title of each entry of the file.
        questions: The number of questions of each.
        share: The share of all questions, above 0 and below 1.

    Returns:
        Indices of the entries, in rising order; no more articles are drawn than the share needs.
    """
    single = len(set(titles)) == 1
    entries_of: dict[Hashable, list[int]] = {}
    for entry, title in enumerate(titles):
        own = single or not title.strip()
        entries_of.setdefault(entry if own else title, []).append(entry)
    articles = list(entries_of.values())
    drawn: list[int] = []
    held = 0
    for number in np.random.default_rng(_SEED).permutation(len(articles)):
        if held >= share * sum(questions):
            break
        drawn += articles[number]
        held += sum(questions[entry] for entry in articles[number])
    return tuple(sorted(drawn))
