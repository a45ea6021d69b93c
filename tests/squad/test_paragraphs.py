"""Passages out of items of any shape, with what is wrong about each.

Oracle: the shapes that were written, and the places at which they were spoilt.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.dataset import read_squad
from roberta_squad_pipeline.squad.paragraphs import Paragraph, squad_paragraphs

Json = dict[str, Any]


def asked(question_id: object, **more: object) -> Json:
    return {"id": question_id, "question": "?", "answers": []} | more


FOUND = {"answers": [{"text": "b", "answer_start": 2}]}
PASSAGES = [
    {"context": "a b", "qas": [asked("1", **FOUND), asked("2")]},
    {"context": "a b c", "qas": [asked("3")]},
]


def paragraphs(folder: Path, content: object) -> list[Paragraph | InputError]:
    path = folder / "file.json"
    path.write_text(json.dumps(content))
    return list(squad_paragraphs(path))


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ({"data": [{"paragraphs": PASSAGES}]}, ["data[0].paragraphs[0]", "data[0].paragraphs[1]"]),
        ([{"paragraphs": PASSAGES, "title": None}], ["[0].paragraphs[0]", "[0].paragraphs[1]"]),
        (PASSAGES, ["[0]", "[1]"]),
        ({"data": PASSAGES}, ["data[0]", "data[1]"]),
        ({"paragraphs": PASSAGES}, ["paragraphs[0]", "paragraphs[1]"]),
        (PASSAGES[0], [""]),
        ({"context": "a b", **asked("1", **FOUND)}, [""]),
    ],
)
def test_shapes(tmp_path: Path, content: object, places: list[str]) -> None:
    found = paragraphs(tmp_path, content)
    assert [one.place for one in found if isinstance(one, Paragraph)] == places
    dataset = read_squad(tmp_path / "file.json", on_misaligned="error")
    assert [passage.text for passage in dataset.passages] == ["a b", "a b c"][: len(places)]
    assert dataset.questions[0].answers[0].text == "b"


def test_records_that_repeat_a_passage_share_it_while_they_stand_together(tmp_path: Path) -> None:
    contexts = ["a", "a", "b", "a", None, None]
    records = [asked(n, context=context) for n, context in enumerate(contexts)]
    found = [one for one in paragraphs(tmp_path, records) if isinstance(one, Paragraph)]
    assert [one.records for one in found] == [
        ("[0]", "[1]"),
        ("[2]",),
        ("[3]",),
        ("[4]",),
        ("[5]",),
    ]
    assert [one.entry().context for one in found] == ["a", "b", "a", None, None]
    assert [where for where, _ in found[0].entry().questions] == [
        f"{tmp_path}/file.json: [{n}]" for n in range(2)
    ]


def test_no_more_than_so_many_records_are_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roberta_squad_pipeline.squad.paragraphs._AT_ONCE", 2)
    found = paragraphs(tmp_path, [asked(n, context="a") for n in range(5)])
    cut = [one for one in found if isinstance(one, Paragraph)]
    assert [one.records for one in cut] == [("[0]", "[1]"), ("[2]", "[3]"), ("[4]",)]
    assert {one.article for one in cut} == {0}


def test_articles_of_records_and_passages_go_by_title(tmp_path: Path) -> None:
    titles = ["Rome", "Rome", 1, None, None, "Rome"]
    records = [asked(n, context=f"{n}", title=title) for n, title in enumerate(titles)]
    bare = [{"context": f"{n}", "qas": [], "title": title} for n, title in enumerate(titles)]
    for content in (records, bare):
        found = [one for one in paragraphs(tmp_path, content) if isinstance(one, Paragraph)]
        assert [one.article for one in found] == [0, 0, 1, 2, 3, 4]
        assert [one.title for one in found] == ["Rome", "Rome", "1", "", "", "Rome"]


def test_faults_hide_nothing(tmp_path: Path) -> None:
    content = [
        {"paragraphs": [{"context": 5, "qas": [asked("1")]}, 5], "title": []},
        {"paragraphs": {}},
        {"label": "x"},
        asked("2") | {"context": "a", "question": None, "answers": [{"text": None}]},
        *PASSAGES,
    ]
    faults: list[str] = []
    for one in paragraphs(tmp_path, content):
        found = [one] if isinstance(one, InputError) else one.entry().faults
        faults += [fault.where.partition(": ")[2] for fault in found]
    assert faults == [
        "[0].title",
        "[0].paragraphs[0].context",
        "[0].paragraphs[1]",
        "[1].paragraphs",
        "[2]",
        "[3].question",
        "[3].answers[0].text",
        "[3].answers[0]",
    ]


def test_numbers_as_ids_may_collide(tmp_path: Path) -> None:
    content = [{"context": "a b", "qas": [asked(7, **FOUND), asked("7")]}]
    paragraphs(tmp_path, content)
    with pytest.raises(InputError, match=r'the id "7", which is also that of \[0\]\.qas\[0\]'):
        read_squad(tmp_path / "file.json", on_misaligned="error")
