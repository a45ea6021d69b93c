"""What is true in one passage's corner of the world: entities and the facts stated of them."""

import random
from dataclasses import dataclass

from roberta_squad_pipeline.demo.names import Split, Values
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
