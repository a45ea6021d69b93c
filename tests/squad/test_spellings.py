"""What tools write instead of SQuAD's own spelling.

Oracle: SQuAD's spelling of the same.
"""

from typing import Any

import pytest

from roberta_squad_pipeline.squad.spellings import as_squad, with_context

ANSWER = {"text": "b", "answer_start": 2}
NAN = float("nan")


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ({"id": 7}, {"id": "7"}),
        ({"id": 7.0}, {"id": "7"}),
        ({"id": None}, {"id": "here"}),
        ({"id": NAN}, {"id": "here"}),
        ({}, {"id": "here"}),
        ({"id": True}, {"id": True}),
        ({"id": "q", "is_impossible": 0}, {"id": "q", "is_impossible": False}),
        ({"id": "q", "is_impossible": 1.0}, {"id": "q", "is_impossible": True, "answers": []}),
        ({"id": "q", "is_impossible": NAN}, {"id": "q", "is_impossible": None}),
        ({"id": "q", "is_impossible": 2}, {"id": "q", "is_impossible": 2}),
        ({"id": "q", "is_impossible": "no"}, {"id": "q", "is_impossible": "no"}),
        ({"id": "q", "answers": None}, {"id": "q"}),
        (
            {"id": "q", "answers": [ANSWER | {"answer_start": 2.0}]},
            {"id": "q", "answers": [ANSWER]},
        ),
        (
            {"id": "q", "answers": [ANSWER | {"answer_start": 2.5}, 5]},
            {"id": "q", "answers": [ANSWER | {"answer_start": 2.5}, 5]},
        ),
        ({"id": "q", "answers": ANSWER}, {"id": "q", "answers": [ANSWER]}),
        (
            {"id": "q", "plausible_answers": {"text": ["b"], "answer_start": [2]}},
            {"id": "q", "plausible_answers": [ANSWER]},
        ),
        (
            {"id": "q", "answers": {"text": ["b"], "answer_start": []}},
            {"id": "q", "answers": {"text": ["b"], "answer_start": []}},
        ),
        (
            {"id": "q", "answers.text": ["b"], "answers.answer_start": [2]},
            {"id": "q", "answers": [ANSWER]} | {"answers.text": ["b"], "answers.answer_start": [2]},
        ),
    ],
)
def test_spellings(written: dict[str, Any], spelled: dict[str, Any]) -> None:
    before = repr(written)
    assert as_squad(written, id_if_none="here") == spelled
    assert repr(written) == before
    assert type(as_squad(written, id_if_none="here")["id"]) is type(spelled["id"])


def test_what_is_not_a_question_stays() -> None:
    assert as_squad(5, id_if_none="here") == 5


@pytest.mark.parametrize(
    ("record", "renamed"),
    [
        ({"question": "q", "passage": "p"}, {"question": "q", "context": "p"}),
        ({"question": "q", "passage": "p", "context": "c"}, None),
        ({"passage": "p", "qas": []}, None),
        (["passage", "question"], None),
    ],
)
def test_passage_of_a_record(record: object, renamed: object) -> None:
    assert with_context(record) == (record if renamed is None else renamed)
