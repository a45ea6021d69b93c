"""Passages: scenes of the invented world, told so that every stated value occurs once."""

import random
import re
from dataclasses import dataclass
from typing import Literal

from roberta_squad_pipeline.demo.names import Split, Values
from roberta_squad_pipeline.demo.phrases import PHRASES, FactType, Kind

_COUNTS = {2: "Two", 3: "Three", 4: "Four", 5: "Five"}
Size = Literal["simple", "usual", "long"]

# Number of entities, and the least and largest number of facts stated of each.
_SIZES: dict[Size, tuple[tuple[int, tuple[int, int]], ...]] = {
    "simple": ((2, (1, 3)),),
    "usual": ((2, (3, 4)), (3, (2, 3))),
    "long": ((4, (3, 5)),),
}

# Chances of the turns that the prose takes.
_OPENING = 0.6
_REMARK = 0.35
_ENTITY_BY_ENTITY = 0.6
_TWO_FACTS = 0.55
_PRONOUN = 0.5
_JOINED = 0.3


@dataclass(frozen=True)
class Entity:
    """Something with a name.

    Attributes:
        name: As in the middle of a sentence: "the Skarine Bridge".
        pronoun: The pronoun that may replace it in the next sentence.
    """

    name: str
    pronoun: str


@dataclass(frozen=True)
class Fact:
    """One fact: the entity's value of a fact type."""

    entity: Entity
    fact_type: FactType
    value: str


@dataclass(frozen=True)
class Scene:
    """Entities of one kind, what is said of them, and what is left out.

    Attributes:
        kind: Kind of all entities.
        entities: In the order in which they were drawn.
        stated: Facts that the passage states; all values differ.
        unstated: Entity and fact type of every question that the passage does not answer.
    """

    kind: Kind
    entities: tuple[Entity, ...]
    stated: tuple[Fact, ...]
    unstated: tuple[tuple[Entity, FactType], ...]


@dataclass(frozen=True)
class Story:
    """A passage and what is known of it.

    Attributes:
        text: The passage.
        scene: What it states and what it leaves out.
        phrases: The phrase that states each fact of the scene, in the scene's order.
    """

    text: str
    scene: Scene
    phrases: tuple[str, ...]

    def answer_start(self, fact: Fact) -> int:
        """Character offset of the stated fact's value."""
        return next(re.finditer(rf"\b{re.escape(fact.value)}\b", self.text)).start()


def write_passage(rng: random.Random, split: Split, size: Size) -> Story:
    """Draw a scene and tell it.

    Args:
        rng: Source of all randomness.
        split: Where the names belong.
        size: "usual" passages have 50 to 150 tokens; "long" ones up to 250. A "simple" one has two
            entities with few facts and nothing around them: pre-training starts with these.
    """
    entity_count, facts_per_entity = rng.choice(_SIZES[size])
    scene = _draw_scene(rng, split, entity_count=entity_count, facts_per_entity=facts_per_entity)
    return _Writer(rng, scene, framed=size != "simple").write()


def _draw_scene(
    rng: random.Random, split: Split, *, entity_count: int, facts_per_entity: tuple[int, int]
) -> Scene:
    """Draw entities of one kind and decide which facts are stated of each.

    Which fact types are stated is a fair draw for each entity on its own, so that neither a
    question's fact type nor its entity tells whether the passage answers it.

    Args:
        rng: Source of all randomness.
        split: Where the names belong.
        entity_count: Number of entities.
        facts_per_entity: Least and largest number of facts stated of an entity.
    """
    kind = rng.choice(PHRASES.kinds)
    values = Values(rng, split)
    stated: list[Fact] = []
    unstated: list[tuple[Entity, FactType]] = []
    entities = [
        Entity(name=values.name(kind.name), pronoun=rng.choice(kind.pronouns))
        for _ in range(entity_count)
    ]
    for entity in entities:
        chosen = set(rng.sample(range(len(kind.facts)), rng.randint(*facts_per_entity)))
        for index, fact_type in enumerate(kind.facts):
            if index in chosen:
                stated.append(Fact(entity, fact_type, values.draw(fact_type.value)))
            else:
                unstated.append((entity, fact_type))
    return Scene(kind, tuple(entities), tuple(stated), tuple(unstated))


def ask(rng: random.Random, entity: Entity, fact_type: FactType) -> str:
    """A question for the fact; the same forms whether or not the passage states it."""
    question = rng.choice(fact_type.questions)
    for slot, words in PHRASES.question_words.items():
        if slot in question:
            word = rng.choice(words)
            question = question.replace(slot, word if question.startswith(slot) else word.lower())
    return capitalise(question.replace("{x}", entity.name)) + "?"


def capitalise(sentence: str) -> str:
    """The sentence with a capital first letter."""
    return sentence[0].upper() + sentence[1:]


def _enumerate(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]


class _Writer:
    """Tells one scene, `framed` by an opening and a remark or not."""

    def __init__(self, rng: random.Random, scene: Scene, *, framed: bool) -> None:
        self._rng = rng
        self._scene = scene
        self._framed = framed
        self._phrases: dict[Fact, str] = {}

    def write(self) -> Story:
        rng, scene = self._rng, self._scene
        sentences: list[str] = []
        if self._framed and rng.random() < _OPENING:
            sentences.append(self._opening())
        entities = rng.sample(scene.entities, len(scene.entities))
        if rng.random() < _ENTITY_BY_ENTITY:
            for entity in entities:
                sentences += self._one_entity(entity)
        else:
            sentences += self._mixed()
        if self._framed and rng.random() < _REMARK:
            remark = rng.choice(scene.kind.remarks).replace("{x}", rng.choice(entities).name)
            sentences.append(remark)
        text = " ".join(capitalise(sentence) for sentence in sentences)
        return Story(text, scene, tuple(self._phrases[fact] for fact in scene.stated))

    def _opening(self) -> str:
        names = [entity.name for entity in self._scene.entities]
        opening = self._rng.choice(self._scene.kind.openings)
        count = _COUNTS[len(names)]
        opening = opening.replace("{count}", count if opening[0] == "{" else count.lower())
        return opening.replace("{names}", _enumerate(self._rng.sample(names, len(names))))

    def _groups(self, facts: list[Fact]) -> list[list[Fact]]:
        """Cut an entity's facts, in random order, into sentences of one or two."""
        facts = self._rng.sample(facts, len(facts))
        groups: list[list[Fact]] = []
        while facts:
            size = 2 if len(facts) > 1 and self._rng.random() < _TWO_FACTS else 1
            groups.append(facts[:size])
            facts = facts[size:]
        return groups

    def _facts_of(self, entity: Entity) -> list[Fact]:
        return [fact for fact in self._scene.stated if fact.entity == entity]

    def _one_entity(self, entity: Entity) -> list[str]:
        sentences: list[str] = []
        for group in self._groups(self._facts_of(entity)):
            again = bool(sentences) and self._rng.random() < _PRONOUN
            sentences.append(self._clause(group, entity.pronoun if again else entity.name) + ".")
        return sentences

    def _mixed(self) -> list[str]:
        groups = [
            g for entity in self._scene.entities for g in self._groups(self._facts_of(entity))
        ]
        clauses = [self._clause(g, g[0].entity.name) for g in self._rng.sample(groups, len(groups))]
        sentences: list[str] = []
        while clauses:
            clause = clauses.pop()
            if clauses and self._rng.random() < _JOINED:
                clause += self._rng.choice((", while ", "; ", ", whereas ")) + clauses.pop()
            sentences.append(clause + ".")
        return sentences

    def _clause(self, facts: list[Fact], subject: str) -> str:
        if len(facts) == 1:
            return self._single(facts[0], subject)
        first, second = facts
        turn = self._rng.randrange(3)
        of_first, of_second = first.fact_type, second.fact_type
        begun = self._phrase(first, of_first.predicates if turn == 0 else of_first.asides)
        ending = self._phrase(second, of_second.predicates)
        if turn == 0:
            return f"{subject} {begun} and {ending}"
        return f"{subject}, {begun}, {ending}" if turn == 1 else f"{begun}, {subject} {ending}"

    def _single(self, fact: Fact, subject: str) -> str:
        form = self._rng.choice(fact.fact_type.predicates + fact.fact_type.sentences)
        self._phrases[fact] = form
        if form in fact.fact_type.predicates:
            form = "{x} " + form
        name = subject if form.startswith("{x} ") else fact.entity.name
        return form.replace("{x}", name).replace("{v}", fact.value)

    def _phrase(self, fact: Fact, forms: tuple[str, ...]) -> str:
        form = self._phrases[fact] = self._rng.choice(forms)
        return form.replace("{v}", fact.value)
