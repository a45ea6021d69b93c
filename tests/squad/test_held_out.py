"""Articles that are held out of training.

Oracle: what holding out whole articles means.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.dataset import read_passages
from roberta_squad_pipeline.squad.held_out import FilePart, draw_articles, hold_out

FILES = st.lists(
    st.tuples(st.sampled_from(["", " ", "Rome", "Paris", "Oslo"]), st.integers(0, 9)),
    min_size=1,
    max_size=12,
).filter(lambda entries: any(count for _, count in entries))
SHARES = st.floats(0.01, 0.99)


@given(FILES, SHARES)
def test_drawn_articles(entries: list[tuple[str, int]], share: float) -> None:
    """At least the share, whole articles, none too many, and the same every time."""
    titles, questions = [title for title, _ in entries], [count for _, count in entries]
    drawn = draw_articles(titles, questions, share)
    assert drawn == tuple(sorted(set(drawn)))
    held = sum(questions[entry] for entry in drawn)
    assert held >= share * sum(questions)
    assert draw_articles(titles, questions, share) == drawn
    single = len(set(titles)) == 1
    own = [entry if single or not title.strip() else title for entry, title in enumerate(titles)]
    for article in set(own):
        entries_of = {entry for entry, other in enumerate(own) if other == article}
        assert entries_of <= set(drawn) or entries_of.isdisjoint(drawn)
    without_one = [
        held - sum(questions[entry] for entry in drawn if own[entry] == article)
        for article in {own[entry] for entry in drawn}
    ]
    assert min(without_one) < share * sum(questions)


@given(FILES, SHARES, SHARES)
def test_more_is_held_out_of_a_larger_share(
    entries: list[tuple[str, int]], one: float, other: float
) -> None:
    titles, questions = [title for title, _ in entries], [count for _, count in entries]
    less, more = (draw_articles(titles, questions, share) for share in sorted((one, other)))
    assert set(less) <= set(more)


def write(path: Path, articles: list[tuple[str, int]]) -> Path:
    """A SQuAD file with so many questions in each article, every other one unanswerable."""
    data = []
    for article, (title, count) in enumerate(articles):
        qas = [
            {
                "id": f"{article}.{number}",
                "question": "What?",
                "answers": [] if number % 2 else [{"text": "six", "answer_start": 0}],
                "is_impossible": bool(number % 2),
            }
            for number in range(count)
        ]
        paragraphs = [{"context": f"six in {article}", "qas": qas}]
        data.append({"title": title, "paragraphs": paragraphs})
    path.write_text(json.dumps({"version": "v2.0", "data": data}))
    return path


def test_the_two_parts_of_a_file_are_all_of_it(tmp_path: Path) -> None:
    articles = [("Rome", 4), ("Oslo", 2), ("Paris", 6), ("Rome", 2), ("", 4)]
    path = write(tmp_path / "train.json", articles)
    held_out = hold_out(path, 0.3)
    assert (held_out.of_articles, held_out.of_questions) == (5, 18)
    ids = {}
    for of in ("training", "validation"):
        part = FilePart(of=of, held_out=held_out)
        passages = read_passages(path, on_misaligned="error", articles=part.articles)
        ids[of] = [question.id for passage in passages for question in passage.questions]
    whole = read_passages(path, on_misaligned="error")
    every = [question.id for passage in whole for question in passage.questions]
    assert sorted(ids["training"] + ids["validation"]) == sorted(every)
    assert len(ids["validation"]) == held_out.questions >= 0.3 * 18
    assert {articles[int(id_[0])][0] for id_ in ids["validation"]} == set(held_out.titles)
    for title in set(filter(None, held_out.titles)):
        assert title in str(held_out)


@pytest.mark.parametrize("articles", [[("Rome", 4)], [("Rome", 4), ("Rome", 0)]])
def test_a_file_of_one_article_cannot_be_parted(
    tmp_path: Path, articles: list[tuple[str, int]]
) -> None:
    path = write(tmp_path / "train.json", articles)
    with pytest.raises(InputError, match=r"data.validation=0.1: got .*Lower the share, or give"):
        hold_out(path, 0.1)


def test_faults_in_the_other_part_are_found_all_the_same(tmp_path: Path) -> None:
    """An answer that is not where it claims to be, in an article that is not read."""
    path = write(tmp_path / "train.json", [("Rome", 2), ("Oslo", 2)])
    path.write_text(path.read_text().replace('"answer_start": 0', '"answer_start": 1', 1))
    with pytest.raises(InputError, match=r"data\[0\]"):
        list(read_passages(path, on_misaligned="error", articles=frozenset({1})))
