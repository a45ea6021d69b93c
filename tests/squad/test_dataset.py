"""Reading and checking SQuAD JSON.

Oracle: files built here from known parts, which must come back unchanged, or with one fault put in,
which must be named at the place where it was put. Counts of the sample files were taken with a few
lines of the standard library's json.
"""

import copy
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.dataset import (
    GoldAnswer,
    Passage,
    Question,
    SquadDataset,
    read_gold,
    read_passages,
    read_squad,
    read_training,
    read_unlabelled,
)
from roberta_squad_pipeline.squad.faults import OnMisaligned

Json = dict[str, Any]

PASSAGE = "Ein Öltanker 😀 sank off Brest in 1978."
WELL_FORMED: Json = {
    "version": "v2.0",
    "data": [
        {"title": "Empty", "paragraphs": []},
        {
            "title": "Ships",
            "paragraphs": [
                {"context": "No questions here.", "qas": []},
                {
                    "context": PASSAGE,
                    "qas": [
                        {
                            "id": "q1",
                            "question": "When did it sink?",
                            "answers": [
                                {"text": "1978", "answer_start": PASSAGE.index("1978")},
                                {"text": "in 1978", "answer_start": PASSAGE.index("in 1978")},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "q2",
                            "question": "Who built it?",
                            "answers": [],
                            "plausible_answers": [{"text": "Brest", "answer_start": 24}],
                            "is_impossible": True,
                        },
                    ],
                },
            ],
        },
    ],
}
PLACE = "data[1].paragraphs[1]"


def write(folder: Path, content: Json) -> Path:
    path = folder / "train.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def with_fault(change: Callable[[Json, list[Json]], None]) -> Json:
    """Gives the well-formed file after a change to its last paragraph or that one's questions."""
    content = copy.deepcopy(WELL_FORMED)
    paragraph = content["data"][1]["paragraphs"][1]
    change(paragraph, paragraph["qas"])
    return content


def total(dataset: SquadDataset, counted: str) -> int:
    """Answers that were dropped or moved, in all passages."""
    return sum(getattr(passage, counted) for passage in dataset.passages)


def test_every_part_is_read(tmp_path: Path) -> None:
    dataset = read_squad(write(tmp_path, WELL_FORMED), on_misaligned="error")
    when = Question(
        "q1",
        "When did it sink?",
        (
            GoldAnswer("1978", PASSAGE.index("1978")),
            GoldAnswer("in 1978", PASSAGE.index("in 1978")),
        ),
    )
    plausible = GoldAnswer("Brest", PASSAGE.index("Brest"))
    who = Question("q2", "Who built it?", (), plausible)
    assert dataset.passages == (
        Passage("No questions here.", "Ships", ()),
        Passage(PASSAGE, "Ships", (when, who)),
    )
    assert dataset.questions == (when, who)
    assert (when.unanswerable, who.unanswerable) == (False, True)
    assert [question.unanswerable for question in dataset.questions].count(True) == 1
    assert dataset.gold == {"q1": ("1978", "in 1978"), "q2": ()}


def test_is_impossible_and_title_may_be_missing(tmp_path: Path) -> None:
    content = copy.deepcopy(WELL_FORMED)
    del content["data"][1]["title"], content["version"]
    for entry in content["data"][1]["paragraphs"][1]["qas"]:
        del entry["is_impossible"]
    dataset = read_squad(write(tmp_path, content), on_misaligned="error")
    assert [question.unanswerable for question in dataset.questions] == [False, True]
    assert dataset.passages[0].title == ""


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: not text.isspace()
)


@given(st.data())
def test_any_text_comes_back_with_exact_offsets(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    before, answer, after = data.draw(words), data.draw(words), data.draw(words)
    context = before + answer + after
    aligned = {"text": answer, "answer_start": len(before)}
    qas = [
        {"id": "yes", "question": after, "answers": [aligned]},
        {"id": "no", "question": before, "answers": []},
    ]
    folder = tmp_path_factory.mktemp("any")
    path = write(folder, {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]})
    (passage,) = read_squad(path, on_misaligned="error").passages
    assert passage.text == context
    assert [question.text for question in passage.questions] == [after, before]
    (found,) = passage.questions[0].answers
    assert passage.text[found.start : found.start + len(found.text)] == found.text == answer


@given(st.lists(st.lists(st.booleans(), max_size=4), max_size=6))
def test_dropping_an_answer_never_makes_a_question_unanswerable(
    tmp_path_factory: pytest.TempPathFactory, aligned: list[list[bool]]
) -> None:
    """Each inner list is a question, each item one of its answers and whether it is aligned."""
    right, wrong = {"text": "b", "answer_start": 1}, {"text": "b", "answer_start": 0}
    aligned = [[], [True], *aligned]
    qas = [
        {"id": str(n), "question": "?", "answers": [right if fine else wrong for fine in answers]}
        for n, answers in enumerate(aligned)
    ]
    folder = tmp_path_factory.mktemp("drop")
    path = write(folder, {"data": [{"paragraphs": [{"context": "ab", "qas": qas}]}]})
    dataset = read_squad(path, on_misaligned="drop")
    assert [len(question.answers) for question in dataset.questions] == list(map(sum, aligned))
    assert [len(question.gold) for question in dataset.questions] == list(map(len, aligned))
    assert [question.unanswerable for question in dataset.questions] == [not q for q in aligned]
    assert {question.id for question in dataset.passages[0].learnable.questions} == {
        str(n) for n, answers in enumerate(aligned) if any(answers) or not answers
    }
    assert total(dataset, "misaligned") == sum(not fine for answers in aligned for fine in answers)


@pytest.mark.parametrize("start", [-1, 0, 24, PASSAGE.index("1978") + 1, 10**30])
def test_misaligned_answer_is_named_or_dropped(tmp_path: Path, start: int) -> None:
    def shift(_: Json, qas: list[Json]) -> None:
        qas[0]["answers"][0]["answer_start"] = start

    path = write(tmp_path, with_fault(shift))
    with pytest.raises(InputError) as caught:
        read_squad(path, on_misaligned="error")
    assert caught.value.where == f"{path}: {PLACE}.qas[0].answers[0]"
    assert str(start) in caught.value.got
    assert f"begins at {PASSAGE.index('1978')}" in caught.value.expected
    assert "data.on_misaligned" in caught.value.remedy

    dataset = read_squad(path, on_misaligned="drop")
    assert total(dataset, "misaligned") == 1
    assert [len(question.answers) for question in dataset.questions] == [1, 0]


@given(st.data())
def test_repair_moves_an_answer_to_its_nearest_place(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Oracle: every place of the passage, tried one by one."""
    context = data.draw(st.text("ab", min_size=1, max_size=12))
    text = data.draw(st.text("ab", min_size=1, max_size=3))
    start = data.draw(st.integers(-3, len(context) + 3) | st.sampled_from([10**30, -(10**30)]))
    places = [n for n in range(len(context)) if context[n:].startswith(text)]
    asked = {"id": "q", "question": "?", "answers": [{"text": text, "answer_start": start}]}
    fine = {"id": "fine", "question": "?", "answers": [{"text": "c", "answer_start": 0}]}
    paragraphs = [{"context": context, "qas": [asked]}, {"context": "c", "qas": [fine]}]
    path = write(tmp_path_factory.mktemp("repair"), {"data": [{"paragraphs": paragraphs}]})

    dataset = read_squad(path, on_misaligned="repair")
    kept = [answer for q in dataset.passages[0].questions for answer in q.answers]
    assert total(dataset, "misaligned") == (not places)
    assert total(dataset, "repaired") == (bool(places) and start not in places)
    assert len(kept) == bool(places)
    if places:
        assert kept[0] == GoldAnswer(text, min(places, key=lambda n: (abs(n - start), n)))


def test_negative_start_does_not_count_from_the_end(tmp_path: Path) -> None:
    def shift(_: Json, qas: list[Json]) -> None:
        qas[0]["answers"] = [{"text": "1978.", "answer_start": -5}]

    path = write(tmp_path, with_fault(shift))
    with pytest.raises(InputError, match="answer_start -5"):
        read_squad(path, on_misaligned="error")


def test_byte_offsets_are_not_character_offsets(tmp_path: Path) -> None:
    def shift(_: Json, qas: list[Json]) -> None:
        qas[0]["answers"][0]["answer_start"] = len(PASSAGE.partition("1978")[0].encode())

    with pytest.raises(InputError, match="characters from 0"):
        read_squad(write(tmp_path, with_fault(shift)), on_misaligned="error")


FAULTS: list[tuple[Callable[[Json, list[Json]], Any], str, str, str]] = [
    (lambda p, q: p.update(context=""), ".context", "an empty text", "the text of the passage"),
    (lambda p, q: p.update(context=" \n"), ".context", "white space", "the text of"),
    (lambda p, q: p.pop("context"), "", "no key 'context'", "an object with"),
    (lambda p, q: p.update(qas={}), ".qas", "an object", "a list"),
    (lambda p, q: q[1].update(question="\t"), ".qas[1].question", "white space", "the text of"),
    (lambda p, q: q[1].update(question=None), ".qas[1].question", "null", "a string"),
    (lambda p, q: q[1].update(question=float("nan")), ".qas[1].question", "NaN", "a string"),
    (lambda p, q: q[1].update(id=[7]), ".qas[1].id", "a list", "a string"),
    (lambda p, q: q[1].update(id="q1"), ".qas[1]", f"{PLACE}.qas[0]", "no other question"),
    (lambda p, q: q[0].pop("answers"), ".qas[0]", "no key 'answers'", "an object with"),
    (
        lambda p, q: q[0]["answers"][1].update(text=""),
        ".qas[0].answers[1].text",
        "an empty text",
        "the text of the answer",
    ),
    (
        lambda p, q: q[0]["answers"][1].update(answer_start="5"),
        ".qas[0].answers[1].answer_start",
        '"5"',
        "an integer",
    ),
    (
        lambda p, q: q[0]["answers"][1].pop("answer_start"),
        ".qas[0].answers[1]",
        "no key 'answer_start'",
        "an object with",
    ),
    (
        lambda p, q: q[0].update(is_impossible=True),
        ".qas[0]",
        "is_impossible true with 2 answers",
        "true for no answers",
    ),
    (
        lambda p, q: q[1].update(is_impossible=False),
        ".qas[1]",
        "is_impossible false with 0 answers",
        "true for no answers",
    ),
    (lambda p, q: q[1].update(is_impossible="true"), ".qas[1].is_impossible", '"true"', "true or"),
]


@pytest.mark.parametrize(("change", "place", "got", "expected"), FAULTS)
def test_fault_is_named_at_its_place(
    tmp_path: Path,
    change: Callable[[Json, list[Json]], None],
    place: str,
    got: str,
    expected: str,
) -> None:
    path = write(tmp_path, with_fault(change))
    with pytest.raises(InputError) as caught:
        read_squad(path, on_misaligned="drop")
    assert caught.value.where == f"{path}: {PLACE}{place}"
    assert got in caught.value.got
    assert expected in caught.value.expected
    assert caught.value.remedy.endswith(".")


def test_file_without_data_is_not_squad(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"top level: got no key 'data'.*SQuAD 1\.1 or 2\.0"):
        read_squad(write(tmp_path, {"id": ["q1"]}), on_misaligned="error")


def test_repeated_id_is_found_across_articles(tmp_path: Path) -> None:
    content = copy.deepcopy(WELL_FORMED)
    content["data"].append(copy.deepcopy(content["data"][1]))
    path = write(tmp_path, content)
    for read in (read_gold, lambda path: read_squad(path, on_misaligned="error")):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.where == f"{path}: data[2].paragraphs[1].qas[0]"
        assert "q1" in caught.value.got
        assert caught.value.got.endswith("data[1].paragraphs[1].qas[0]")


def test_what_lies_under_unknown_keys_must_be_json(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    unknown = ', "more": {"a": [[{"b": [1,, 2]}]]}}'
    path.write_text(json.dumps(WELL_FORMED)[:-1] + unknown)
    with pytest.raises(InputError, match=r"line 1, column \d+: got text that is not JSON"):
        read_squad(path, on_misaligned="error")


@pytest.mark.parametrize("padding", ["plain ", "\U0001f600 "], ids=["one byte", "four bytes"])
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path: Path, padding: str) -> None:
    paragraph = WELL_FORMED["data"][1]["paragraphs"][1]
    paragraphs = [
        {
            "context": paragraph["context"] + padding * 50,
            "qas": [
                {**entry, "id": f"{n} {repeated} {entry['id']}"}
                for entry in paragraph["qas"]
                for repeated in range(3)
            ],
        }
        for n in range(2000)
    ]
    path = write(tmp_path, {"version": "v2.0", "data": [{"paragraphs": paragraphs}]})
    size = path.stat().st_size
    assert size > 1e6
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_passages(path, on_misaligned="error")) == 2000
        assert tracemalloc.get_traced_memory()[1] < 8 * size
    finally:
        tracemalloc.stop()


def only(kinds: list[int], *, flags: bool, version: str) -> Json:
    content = with_fault(lambda p, q: p.update(qas=[q[kind] for kind in kinds]))
    content["version"] = version
    if not flags:
        for entry in content["data"][1]["paragraphs"][1]["qas"]:
            del entry["is_impossible"]
    return content


@pytest.mark.parametrize(
    ("kinds", "flags", "version", "got"),
    [
        ([], False, "1.1", "no questions at all"),
        ([1], False, "1.1", "no answerable question"),
        ([1], True, "v2.0", "no answerable question"),
        ([0], True, "v2.0", "no unanswerable question"),
        ([0], False, "v2.0", "no unanswerable question"),
    ],
)
def test_missing_kind_of_question_is_an_error(
    tmp_path: Path, kinds: list[int], flags: bool, version: str, got: str
) -> None:
    path = write(tmp_path, only(kinds, flags=flags, version=version))
    with pytest.raises(InputError) as caught:
        read_squad(path, on_misaligned="error")
    assert caught.value.where == str(path)
    assert caught.value.got == got


@pytest.mark.parametrize("flags", [False, True])
def test_squad_1_may_have_answerable_questions_only(tmp_path: Path, flags: bool) -> None:
    path = write(tmp_path, only([0], flags=flags, version="1.1"))
    assert not any(q.unanswerable for q in read_squad(path, on_misaligned="error").questions)


def test_gold_is_read_whatever_a_scorer_does_not_look_at(tmp_path: Path) -> None:
    answers = [{"text": "b"}, {"text": "", "answer_start": None}]
    qas = [{"id": "q1", "answers": answers, "is_impossible": "?"}]
    path = write(tmp_path, {"data": [{"paragraphs": [{"qas": qas}]}]})
    assert read_gold(path) == {"q1": ("b", "")}


def test_gold_needs_questions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no questions at all"):
        read_gold(write(tmp_path, {"data": []}))


def test_unlabelled_questions_come_after_the_others(tmp_path: Path) -> None:
    """In any form, whatever stands beside the texts: here answers that training would reject."""
    train = write(tmp_path, WELL_FORMED)
    more = tmp_path / "more.jsonl"
    records = [
        {"context": PASSAGE, "question": "Where?", "answers": [{"text": "", "answer_start": -1}]},
        {"context": PASSAGE, "question": "Why?", "id": "q1"},
    ]
    more.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    files = {"train": {"path": str(train)}}
    known = list(read_training(files, "error", None))
    assert known == list(read_passages(train, on_misaligned="error"))
    *labelled, passage = read_training(files | {"unlabelled": {"path": str(more)}}, "error", None)
    assert labelled == known
    asked = (("more.jsonl: line 1", "Where?"), ("q1", "Why?"))
    questions = (Question(id_, text, (), unlabelled=True) for id_, text in asked)
    assert passage == Passage(PASSAGE, "", tuple(questions))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"context": "A text.", "question": " "}, r"line 1\.question: got nothing but white space"),
        ({"context": "", "question": "Who?"}, r"line 1\.context: got an empty text"),
        ({"context": None, "question": "Who?"}, r"line 1"),
        ({"context": "A text.", "question": 3}, r"line 1"),
        ({"context": "A text.", "qas": []}, "no questions at all"),
    ],
)
def test_unlabelled_questions_have_texts(tmp_path: Path, record: Json, said: str) -> None:
    path = tmp_path / "more.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        list(read_unlabelled(path))


@pytest.mark.parametrize("name", ["train-sample.json", "dev-sample.json"])
def test_samples_are_well_formed(shared: Path, name: str) -> None:
    path = shared / "squad" / name
    entries = [
        entry
        for article in json.loads(path.read_bytes())["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    ]
    dataset = read_squad(path, on_misaligned="error")
    assert [question.id for question in dataset.questions] == [entry["id"] for entry in entries]
    assert sum(q.unanswerable for q in dataset.questions) == sum(
        entry["is_impossible"] for entry in entries
    )
    assert total(dataset, "misaligned") == 0
    assert dataset.gold == read_gold(path)


def paragraph(number: int, kinds: str, start: int = 2) -> Json:
    """A passage "a b"; its questions are answerable ("a") or not ("u")."""
    questions = [
        {
            "id": f"{number}.{n}",
            "question": "?",
            "answers": [{"text": "b", "answer_start": start}] if kind == "a" else [],
            "is_impossible": kind == "u",
        }
        for n, kind in enumerate(kinds)
    ]
    return {"context": "a b", "qas": questions}


@pytest.mark.parametrize("kinds", [("u", "a"), ("a", "u"), ("au", "a"), ("ua", "u")])
def test_both_kinds_of_questions_may_stand_in_different_passages(
    tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    paragraphs = [paragraph(number, kind) for number, kind in enumerate(kinds)]
    path = write(tmp_path, {"version": "v2.0", "data": [{"paragraphs": paragraphs}]})
    assert len(read_squad(path, on_misaligned="error").passages) == len(kinds)


def test_what_was_done_to_answers_is_counted_over_questions_and_passages(tmp_path: Path) -> None:
    paragraphs = [paragraph(0, "aau", start=0), paragraph(1, "a", start=0), paragraph(2, "a")]
    path = write(tmp_path, {"version": "v2.0", "data": [{"paragraphs": paragraphs}]})
    assert total(read_squad(path, on_misaligned="repair"), "repaired") == 3
    assert total(read_squad(path, on_misaligned="drop"), "misaligned") == 3


@pytest.mark.parametrize("on_misaligned", ["drop", "repair"])
def test_what_is_scored_needs_no_place(tmp_path: Path, on_misaligned: OnMisaligned) -> None:
    """Oracle: what a scorer reads of the file. The passage holds neither "c" nor "d"."""
    paragraphs = [paragraph(0, "aau", start=0), paragraph(1, "au")]
    paragraphs[0]["qas"][1]["answers"] = [
        {"text": text, "answer_start": start} for text, start in (("c", 0), ("b", 2), ("d", 1))
    ]
    path = write(tmp_path, {"version": "v2.0", "data": [{"paragraphs": paragraphs}]})
    dataset = read_squad(path, on_misaligned=on_misaligned)
    assert {name: set(texts) for name, texts in dataset.gold.items()} == {
        name: set(texts) for name, texts in read_gold(path).items()
    }
    assert sum(q.unanswerable for q in dataset.questions) == 2
    learnable = [question.id for one in dataset.passages for question in one.learnable.questions]
    moved = ["0.0"] if on_misaligned == "repair" else []
    assert learnable == [*moved, "0.1", "0.2", "1.0", "1.1"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_text_that_is_no_json_inside_a_paragraph_has_its_place_in_the_file(
    tmp_path: Path, number: int
) -> None:
    """Oracle: line and column that Python's own parser gives."""
    content = {"version": "v2.0", "data": [{"paragraphs": [paragraph(n, "au") for n in range(3)]}]}
    before, name, behind = json.dumps(content, indent=1).partition(f'"id": "{number}.1",')
    path = tmp_path / "train.json"
    path.write_text(f"{before}{name} ?{behind}")
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(path.read_text())
    line, column = expected.value.lineno, expected.value.colno
    for read in (read_gold, lambda path: read_squad(path, on_misaligned="error")):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.where == f"{path}: line {line}, column {column}"
        assert "not JSON (" in caught.value.got
