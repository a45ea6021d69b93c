"""What is true in one passage's corner of the world: entities and the facts stated of them."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from roberta_squad_pipeline.demo.names import Namer, Split
from roberta_squad_pipeline.demo.phrases import PHRASES, FactType, Kind


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


def draw_scene(
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
    values = _Values(rng, Namer(rng, split))
    stated: list[Fact] = []
    unstated: list[tuple[Entity, FactType]] = []
    entities = [
        Entity(name=values.namer.name(kind.name), pronoun=rng.choice(kind.pronouns))
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


class _Values:
    """Draws values, none of them twice, so that an answer occurs once in its passage."""

    def __init__(self, rng: random.Random, namer: Namer) -> None:
        self.namer = namer
        self._rng = rng
        self._used: set[str] = set()
        self._numbers: dict[str, Callable[[], str]] = {
            "year": lambda: str(rng.randint(1450, 1989)),
            "people": lambda: f"{rng.randint(1, 49)},{rng.randint(0, 99):02d}0",
            "metres": lambda: f"{rng.randint(20, 1400)} metres",
            "strings": lambda: str(rng.randint(3, 36)),
        }

    def draw(self, kind: str) -> str:
        while True:
            value = self._propose(kind)
            # The number alone counts: "120 metres" and "120 strings" would share a span.
            key = value.split()[0] if value[0].isdigit() else value
            if key not in self._used:
                self._used.add(key)
                return value

    def _propose(self, kind: str) -> str:
        if kind in PHRASES.closed_values:
            return self._rng.choice(PHRASES.closed_values[kind])
        return self._numbers[kind]() if kind in self._numbers else self.namer.name(kind)
