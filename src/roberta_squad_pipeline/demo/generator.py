"""The embedded data set in SQuAD 2.0's format."""

import random
from typing import Any, Literal

from roberta_squad_pipeline.demo.passages import Story, ask, write_passage

_QUESTIONS_PER_PASSAGE = (5, 8)
_UNANSWERABLE = 0.42
_LONG_EVERY = 40


def generate(split: Literal["train", "dev"], *, passages: int, seed: int) -> dict[str, Any]:
    """Make one split of the embedded data set; the same arguments always give the same data.

    Args:
        split: Which names occur: the splits share none.
        passages: Number of passages, each with 5 to 8 questions.
        seed: Seed of everything that is drawn.

    Returns:
        What a SQuAD 2.0 JSON file holds: one article for each kind of entity.
    """
    # A string seeds through SHA-512: the same on every platform, and apart for the two splits.
    rng = random.Random(f"{seed}/{split}")  # noqa: S311 (no secret)
    articles: dict[str, list[dict[str, Any]]] = {}
    for number in range(passages):
        long = number % _LONG_EVERY == _LONG_EVERY - 1
        passage = write_passage(rng, split, "long" if long else "usual")
        paragraph = _paragraph(rng, passage, f"demo-{split}-{number:05d}")
        articles.setdefault(passage.scene.kind.title, []).append(paragraph)
    data = [{"title": title, "paragraphs": articles[title]} for title in sorted(articles)]
    return {"version": "v2.0", "data": data}


def _paragraph(rng: random.Random, passage: Story, stem: str) -> dict[str, Any]:
    count = rng.randint(*_QUESTIONS_PER_PASSAGE)
    # Each question is a draw of its own, so that its number in the passage tells nothing.
    unanswerable = sum(rng.random() < _UNANSWERABLE for _ in range(count))
    stated, unstated = passage.scene.stated, passage.scene.unstated
    questions: list[tuple[str, list[dict[str, Any]]]] = [
        (ask(rng, *pair), []) for pair in rng.sample(unstated, min(unanswerable, len(unstated)))
    ]
    for fact in rng.sample(stated, min(count - unanswerable, len(stated))):
        answer = {"text": fact.value, "answer_start": passage.answer_start(fact)}
        questions.append((ask(rng, fact.entity, fact.fact_type), [answer]))
    rng.shuffle(questions)
    qas = [
        {
            "id": f"{stem}-{index}",
            "question": question,
            "answers": answers,
            "is_impossible": not answers,
        }
        for index, (question, answers) in enumerate(questions)
    ]
    return {"context": passage.text, "qas": qas}
