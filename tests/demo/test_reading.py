"""A second reader, of phrases instead of vectors, agrees with every answer and every "no answer".

It knows the phrases but not how passages are written: it takes the prose apart and
looks up what each question asks for.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from roberta_squad_pipeline.demo.phrases import PHRASES, Kind

_CLAUSE_ENDS = re.compile(r"\.(?: |$)|; |, while |, whereas ")
_VALUE = r"(?:(?! and )[^.;,])+(?:,[0-9]+)?"  # a comma only within a number


def _middle(name: str) -> str:
    """An entity's name as in the middle of a sentence."""
    return "the" + name[3:] if name.startswith("The ") else name


def read_question(kind: Kind, question: str) -> tuple[str, str]:
    """Entity and fact type that a question asks for; fails unless there is one reading."""
    readings = set()
    for fact_type in kind.facts:
        for form in fact_type.questions:
            pattern = re.escape(form).replace(r"\{x\}", "(.+)")
            for slot, words in PHRASES.question_words.items():
                pattern = pattern.replace(re.escape(slot), f"(?:{'|'.join(words)})")
            if found := re.fullmatch(pattern + r"\?", question, re.IGNORECASE):
                entity = _middle(found[1])
                if entity.removeprefix("the ")[0].isupper():
                    readings.add((entity, fact_type.name))
    (reading,) = readings
    return reading


def read_passage(kind: Kind, text: str, entities: set[str]) -> dict[tuple[str, str], str]:
    """What a passage states: entity and fact type → value.

    A clause is about the entity it names or, with a pronoun, about that of the clause before.
    """
    stated: dict[tuple[str, str], str] = {}
    subject = ""
    for clause in _CLAUSE_ENDS.split(text):
        named = [name for name in entities if name.lower() in clause.lower()]
        if len(named) > 1:
            continue  # an opening
        if not re.search(rf"\b(?:{'|'.join(kind.pronouns)})\b", clause, re.IGNORECASE):
            subject = named[0] if named else "some entity that no question is on"
        plain = re.sub(re.escape(subject), "{x}", clause, flags=re.IGNORECASE)
        for fact_type, value in _read_clause(kind, plain):
            assert (subject, fact_type) not in stated or not named, f"twice in: {text}"
            stated[subject, fact_type] = value
    return stated


def _read_clause(kind: Kind, clause: str) -> Iterator[tuple[str, str]]:
    if whole := list(_matching(kind, "sentences", clause)):
        yield from whole
        return
    subject = rf"(?:\{{x\}}|{'|'.join(kind.pronouns)})"
    predicate = re.sub(rf"^{subject} ", "", clause, flags=re.IGNORECASE)
    for shape in (
        rf"{subject}, (?P<aside>.+?), (?P<rest>[a-z].+)",
        rf"(?P<aside>.+), {subject} (?P<rest>.+)",
    ):
        if found := re.fullmatch(shape, clause, re.IGNORECASE):
            yield from _matching(kind, "asides", found["aside"])
            predicate = found["rest"]
    yield from _matching(kind, "predicates", predicate)
    for conjunction in re.finditer(" and ", predicate):
        yield from _matching(kind, "predicates", predicate[: conjunction.start()])
        yield from _matching(kind, "predicates", predicate[conjunction.end() :])


def _matching(kind: Kind, forms: str, text: str) -> Iterator[tuple[str, str]]:
    for fact_type in kind.facts:
        for form in getattr(fact_type, forms):
            pattern = re.escape(form).replace(r"\{v\}", f"({_VALUE})")
            if found := re.fullmatch(pattern, text, re.IGNORECASE):
                yield fact_type.name, found[1]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_passages_answer_exactly_the_answerable_questions(
    split: str, request: pytest.FixtureRequest
) -> None:
    squad: dict[str, Any] = request.getfixturevalue(split)
    checked = 0
    for article in squad["data"]:
        (kind,) = (kind for kind in PHRASES.kinds if kind.title == article["title"])
        for paragraph in article["paragraphs"]:
            asked = [(read_question(kind, qa["question"]), qa) for qa in paragraph["qas"]]
            entities = {entity for (entity, _), _ in asked}
            stated = read_passage(kind, paragraph["context"], entities)
            for question, qa in asked:
                answers = [answer["text"] for answer in qa["answers"]]
                expected = [stated[question]] if question in stated else []
                assert answers == expected, (qa["id"], paragraph["context"])
                checked += 1
    assert checked >= 500
