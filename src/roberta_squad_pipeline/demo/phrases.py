"""What the invented world is told in: the phrases of phrases.yml, typed."""

from importlib.resources import files

import yaml

from roberta_squad_pipeline.common.strict import StrictModel


class FactType(StrictModel):
    """Something that can be said of every entity of a kind, and the ways to say and ask it.

    Attributes:
        name: Unique among the fact types of a kind.
        value: The kind of its value, which is the answer: one of `closed_values`, of the kinds of
            numbers in `names.Values`, or of `names.FORMS`.
        predicates: What follows the entity's name: "was launched in {v}".
        sentences: Whole clauses that name the entity elsewhere than at their start.
        asides: What can stand between commas: "launched in {v}".
        statements: Further clauses, for pre-training only: no passage uses them.
        questions: Without the question mark, before the question words are put in.
    """

    name: str
    value: str
    predicates: tuple[str, ...]
    sentences: tuple[str, ...]
    asides: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


class Kind(StrictModel):
    """A kind of entity.

    Attributes:
        name: How its entities are named; see `names.FORMS`.
        title: Title of the article on such entities.
        pronouns: One of them stands for the entity in a sentence right after another on it.
        openings: First sentences: ``{count}`` is "Two", ``{names}`` the list of the entities.
        remarks: Sentences that state no fact.
        facts: As many for every kind, so that no question's form tells whether it has an answer.
    """

    name: str
    title: str
    pronouns: tuple[str, ...]
    openings: tuple[str, ...]
    remarks: tuple[str, ...]
    facts: tuple[FactType, ...]


class Phrases(StrictModel):
    """All phrases.

    Attributes:
        question_words: The replacements of each of ``{when}``, ``{where}`` and ``{which}``.
        closed_values: The values of those kinds that have a few.
        kinds: The kinds of entities.
    """

    question_words: dict[str, tuple[str, ...]]
    closed_values: dict[str, tuple[str, ...]]
    kinds: tuple[Kind, ...]


PHRASES = Phrases.model_validate(
    yaml.safe_load(files(__package__).joinpath("phrases.yml").read_text(encoding="utf-8"))
)
