"""Pre-training sees no question and no name of ours, and asks for what the passage holds."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModel, AutoTokenizer

from pretrain_demo_encoder import (
    Settings,
    draw_examples,
    pretrain,
    train_tokenizer,
)
from roberta_squad_pipeline.demo.names import split_of
from roberta_squad_pipeline.demo.passages import Story, write_passage

TINY = Settings(seed=3, updates=3, tokenizer_passages=200, vocabulary=400, batch_size=4)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Story, str, str | None]]:
    """Passages with a statement each, and what the statement's target says."""
    rng, tokenizer = random.Random(5), train_tokenizer(TINY)  # noqa: S311
    rows: list[tuple[Story, str, str | None]] = []
    while len(rows) < 300:
        passage = write_passage(rng, "pretraining", "usual")
        for example in draw_examples(rng, passage, tokenizer, TINY):
            ids = example.input_ids
            end_of_passage = ids.index(2)
            assert ids[0] == 0
            assert ids[-1] == 2
            assert tokenizer.decode(ids[1:end_of_passage]) == passage.text
            statement = tokenizer.decode(ids[end_of_passage + 1 : -1], skip_special_tokens=False)
            target = tokenizer.decode(ids[example.start : example.end + 1]).strip()
            rows.append((passage, statement, target if example.start else None))
    return rows


def test_statements_ask_nothing_and_their_value_is_masked(
    drawn: list[tuple[Story, str, str | None]],
) -> None:
    for _, statement, target in drawn:
        assert statement.count("<mask>") == 1
        assert "?" not in statement
        assert target is None or target not in statement


def test_targets_are_what_the_passage_states_of_the_entity(
    drawn: list[tuple[Story, str, str | None]],
) -> None:
    # Oracle: the facts that the passage was written from.
    for passage, statement, target in drawn:
        about = [entity for entity in passage.scene.entities if entity.name[1:] in statement]
        known = [fact.value for fact in passage.scene.stated if fact.entity in about]
        assert target is None or target in known
    unsupported = sum(target is None for _, _, target in drawn) / len(drawn)
    assert 0.25 < unsupported < 0.45


def test_statements_use_other_words_than_the_passage(
    drawn: list[tuple[Story, str, str | None]],
) -> None:
    for passage, statement, target in drawn:
        if target:
            assert statement.replace("<mask>", target).strip() not in passage.text


def test_no_name_of_the_training_or_dev_split_occurs(
    drawn: list[tuple[Story, str, str | None]],
) -> None:
    for passage, _, _ in drawn:
        invented = [*passage.scene.entities[0].name.split(), *passage.scene.stated[0].value.split()]
        words = [word for word in invented if re.fullmatch(r"[A-Z][a-z]+", word)]
        english = {
            "Bridge",
            "Mount",
            "Works",
            "Sons",
            "Brothers",
            "Limited",
            "Daughters",
            "Company",
        }
        assert all(split_of(word) == "pretraining" for word in words if word not in english)


def test_pretraining_writes_a_folder_that_transformers_loads(tmp_path: Path) -> None:
    pretrain(replace(TINY, layers=1, hidden=32, heads=2, feed_forward=32), tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).is_fast
    assert AutoModel.from_pretrained(tmp_path).config.num_hidden_layers == 1
