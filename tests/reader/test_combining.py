"""Which readers go together, and soups. Oracle: sums of weights, and a score made up for them."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.combining import ensemble_of, soup_of
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader
from roberta_squad_pipeline.reader.storage import TrainedReader

Member = Callable[..., TrainedReader]


@pytest.fixture
def member(evaluated: TrainedReader) -> Member:
    """A reader of which every weight has the given value."""

    def make(value: float, start: str = "A", heads: str = "H", **header: object) -> TrainedReader:
        alike = evaluated.in_torch
        reader = empty_reader(alike.encoder.config, alike.dropout, "first_token")
        with torch.no_grad():
            for parameter in reader.parameters():
                parameter.fill_(value)
        recipe = {"first_weights": {"encoder": start, "heads": heads}, "selected_on": None}
        changed = evaluated.header.model_copy(update={"recipe": recipe} | header)
        return replace(evaluated, reader=reader, header=changed)

    return make


def _value(reader: ReaderModel) -> float:
    return float(reader.span_head.bias.detach()[0])


def _nearness(reader: ReaderModel) -> float:
    """Scores highest where all weights are 2."""
    return -abs(_value(reader) - 2)


def test_a_soup_takes_in_what_does_not_harm(
    member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    """From 2.5 on, 1.5 makes it perfect; 4 and -1 would spoil it."""
    caplog.set_level(logging.INFO)
    members = {"d": member(-1.0), "a": member(2.5), "c": member(4.0), "b": member(1.5)}
    inference = members["a"].header.inference
    soup = soup_of(members, inference, _nearness, selected_on="5" * 64)
    assert {float(each.detach().mean()) for each in soup.in_torch.parameters()} == {2.0}
    recipe = soup.header.recipe
    assert recipe["soup"] == {"members": ["a", "b"], "left_out": ["c", "d"]}
    assert recipe["selected_on"] == "5" * 64
    assert soup.header.members == ()
    assert soup.evaluation is None
    assert "random weights" not in caplog.text


def test_heads_that_began_differently_are_warned_of(
    member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    members = {"a": member(1.0), "b": member(2.0, heads="I")}
    soup_of(members, members["a"].header.inference, _nearness, selected_on="5" * 64)
    assert "different random weights" in caplog.text


def test_members_that_do_not_go_together(member: Member) -> None:
    first = member(1.0)
    inference, tokenizer = first.header.inference, first.header.tokenizer
    windows = first.header.windows.model_copy(update={"stride": 3})
    other_tokens = member(1.0, tokenizer=tokenizer.model_copy(update={"sha256": "1" * 64}))
    both = ensemble_of({"a": first, "b": first}, inference)
    for others, fault in (
        ({"b": both}, "b, an ensemble itself"),
        ({"b": other_tokens, "c": other_tokens}, "b, c with other tokens"),
        ({"b": member(1.0, windows=windows)}, "b with other windows"),
        ({"b": member(1.0, start="B")}, "other weights at the start"),
        ({"b": member(1.0, recipe={})}, "other weights at the start"),
    ):
        with pytest.raises(InputError, match=fault):
            soup_of({"a": first} | others, inference, _nearness, selected_on="5" * 64)
    assert both.parts == (both,)
    for others in ({"b": other_tokens}, {"b": member(1.0, windows=windows)}):
        assert len(ensemble_of({"a": first} | others, inference).parts) == 2


def test_an_ensemble_is_as_optimistic_as_its_members(member: Member) -> None:
    chosen = member(1.0)
    chosen.header.recipe["selected_on"] = "7" * 64
    trained = ensemble_of({"a": member(1.0), "b": chosen}, chosen.header.inference)
    assert trained.header.recipe["selected_on"] == "7" * 64
