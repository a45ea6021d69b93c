"""Combines trained readers into one: an ensemble, or the mean of their weights."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.ensemble import EnsembleReader
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader
from roberta_squad_pipeline.reader.storage import TrainedReader

_FIRST_WEIGHTS = "first_weights"
"""The key of a recipe for the weights that training began with."""

_logger = logging.getLogger(__name__)


def ensemble_of(members: Mapping[str, TrainedReader], inference: InferenceConfig) -> TrainedReader:
    """An ensemble: members that read the same windows of the same tokens share every reading.

    Others read windows of their own, and what they find is put together by characters.

    Args:
        members: By name; two or more.
        inference: How it is to answer.

    Raises:
        InputError: One of them is no single reader.
    """
    _check(members, {})
    first, *others = members.values()
    selected_on = [each.header.recipe.get("selected_on") for each in members.values()]
    return replace(
        first,
        reader=EnsembleReader([each.in_torch for each in members.values()]),
        header=first.header.model_copy(
            update={
                "inference": inference,
                "members": tuple(members),
                "recipe": {
                    "ensemble": {"kind": "logits", "members": list(members)},
                    "selected_on": next(filter(None, selected_on), None),
                },
            }
        ),
        path=None,
        evaluation=None,
        members=(first, *others),
    )


def soup_of(
    members: Mapping[str, TrainedReader],
    inference: InferenceConfig,
    score: Callable[[ReaderModel], float],
    *,
    selected_on: str,
) -> TrainedReader:
    """Makes a reader whose weights are the mean of those members that improve it.

    The greedy recipe of Wortsman et al. (2022): starting with the best member, each is taken in if
    the mean then scores at least as high.

    Args:
        members: Two or more members by name.
        inference: How the soup answers.
        score: Computes the score of a reader.
        selected_on: The sha256 of the data that the scores are measured on.

    Raises:
        InputError: The members started from different encoders, have different shapes, or read
            different windows or tokens.
    """
    _check(
        members,
        {
            "tokens (tokenizer)": lambda trained: trained.header.tokenizer.sha256,
            "windows (features.*)": lambda trained: trained.header.windows,
            "shapes of weights": _shapes,
            "weights at the start": _start,
        },
    )
    heads = {str(each.header.recipe[_FIRST_WEIGHTS]["heads"]) for each in members.values()}
    if len(heads) > 1:
        _logger.warning(
            "the heads of these runs began with different random weights, whose mean is seldom a "
            "good head. Runs that go on from one reader (model.start) make better soups."
        )
    scores = {name: score(each.in_torch) for name, each in members.items()}
    best, *others = sorted(members, key=lambda name: -scores[name])
    _logger.info("%s alone: %.2f", best, scores[best])
    kept, soup, highest = [best], members[best].in_torch, scores[best]
    for name in others:
        tried = _mean_of([members[each].in_torch for each in (*kept, name)])
        reached = score(tried)
        taken = reached >= highest
        said = "taken in" if taken else "left out"
        _logger.info("%s alone: %.2f; with it: %.2f, %s", name, scores[name], reached, said)
        if taken:
            kept, soup, highest = [*kept, name], tried, reached
    first = members[best]
    recipe = first.header.recipe | {
        "soup": {"members": kept, "left_out": [name for name in others if name not in kept]},
        "selected_on": selected_on,
    }
    header = first.header.model_copy(update={"inference": inference, "recipe": recipe})
    return replace(first, reader=soup, header=header, path=None, evaluation=None)


def _mean_of(readers: list[ReaderModel]) -> ReaderModel:
    first = readers[0]
    soup = empty_reader(first.encoder.config, first.dropout, first.answerability_input)
    states = [reader.state_dict() for reader in readers]
    soup.load_state_dict(
        {
            # In 64 bits, so that the order of the members does not matter.
            name: torch.stack([state[name].cpu().double() for state in states]).mean(0)
            for name in states[0]
        }
    )
    return soup


def _check(
    members: Mapping[str, TrainedReader],
    properties: Mapping[str, Callable[[TrainedReader], object]],
) -> None:
    """Refuses members that differ, and names all differences."""
    names = list(members)
    faults = [f"{name}, an ensemble itself" for name in names if members[name].members]
    for what, of in {}.items() if faults else properties.items():
        first = of(members[names[0]])
        unlike = [name for name in names[1:] if of(members[name]) != first]
        if unlike:
            faults.append(f"{', '.join(unlike)} with other {what} than {names[0]}")
    if faults:
        raise InputError(
            where="parameter ensemble.members",
            got="; ".join(faults),
            expected="two single readers or more that go together",
            remedy="Name others: --params ensemble.members=[a,b,c]. A soup takes runs of one start "
            "and the same features.*; kind=logits takes any.",
        )


def _shapes(trained: TrainedReader) -> object:
    return {name: tensor.shape for name, tensor in trained.in_torch.state_dict().items()}


def _start(trained: TrainedReader) -> object:
    # A reader without this record is unlike any other.
    return trained.header.recipe.get(_FIRST_WEIGHTS, {"encoder": object()})["encoder"]
