"""Answers to single questions.

Oracle: the predictions for a whole file of the same questions, and logistic functions by hand.
"""

import dataclasses
import logging
import math
import re

import numpy as np
import pytest
import rich
import torch
from rich.console import Console

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.answering import (
    Answer,
    Asked,
    answer_questions,
    answers_or_errors,
)
from roberta_squad_pipeline.inference.prediction import predict
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.squad.dataset import SquadDataset

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def asked(squad: SquadDataset) -> list[Asked]:
    return [Asked(q.text, passage.text) for passage in squad.passages for q in passage.questions]


def test_answers_are_the_pipelines_predictions(
    evaluated: TrainedReader, tiny_squad: SquadDataset, tiny_features: Features
) -> None:
    """One passage is longer than a window; the threshold lies between the scores."""
    predictions = list(
        predict(
            evaluated.reader,
            tiny_features,
            evaluated.inference,
            device=CPU,
            on_windows=lambda _: None,
        )
    )
    threshold = float(np.median([p.no_answer_logit for p in predictions]))
    tuned = with_threshold(evaluated, threshold)
    answers = answer_questions(tuned, asked(tiny_squad), device=CPU)
    assert [a.candidates for a in answers] == [p.candidates for p in predictions]
    assert [a.no_answer_score for a in answers] == [p.no_answer_logit for p in predictions]
    for answer in answers:
        assert answer.text == (None if answer.no_answer_score > threshold else answer.best.text)
    assert {answer.text is None for answer in answers} == {True, False}
    always = answer_questions(with_threshold(evaluated, None), asked(tiny_squad), device=CPU)
    assert {answer.text for answer in always} == {None}


def with_threshold(trained: TrainedReader, threshold: float | None) -> TrainedReader:
    assert trained.evaluation is not None
    calibration = trained.calibration.model_copy(update={"threshold": threshold})
    evaluation = trained.evaluation.model_copy(update={"calibration": calibration})
    return dataclasses.replace(trained, evaluation=evaluation)


@pytest.mark.parametrize(("fast", "as_in_fp32"), [("fp32", True), ("bf16", False)])
def test_a_device_that_is_slow_in_16_bits_answers_in_32(
    evaluated: TrainedReader,
    tiny_squad: SquadDataset,
    monkeypatch: pytest.MonkeyPatch,
    fast: str,
    as_in_fp32: bool,
) -> None:
    """Oracle: the same reader, tuned in fp32."""
    assert evaluated.evaluation is not None
    assert evaluated.inference.precision == "fp32"
    monkeypatch.setattr("roberta_squad_pipeline.reader.device.fast_precision", lambda _: fast)
    in_bf16 = evaluated.inference.model_copy(update={"precision": "bf16"})
    tuned = dataclasses.replace(
        evaluated, evaluation=evaluated.evaluation.model_copy(update={"inference": in_bf16})
    )
    asking = asked(tiny_squad)
    scores, expected = (
        [answer.no_answer_score for answer in answer_questions(one, asking, device=CPU)]
        for one in (tuned, evaluated)
    )
    assert (scores == expected) is as_in_fp32


def test_probabilities(evaluated: TrainedReader, tiny_squad: SquadDataset) -> None:
    for answer in answer_questions(evaluated, asked(tiny_squad), device=CPU):
        no_answer = 1 / (1 + math.exp(-(0.5 * answer.no_answer_score + 0.25)))
        assert answer.no_answer_probability == pytest.approx(no_answer)
        weights = np.exp([candidate.score for candidate in answer.candidates])
        share = weights[0] / weights.sum()
        assert answer.answer_probability == pytest.approx((1 - no_answer) * share)


def test_questions_in_any_order_and_one_by_one(
    evaluated: TrainedReader, tiny_squad: SquadDataset
) -> None:
    """Texts exactly, scores up to the noise of float32 sums in another order."""
    questions = asked(tiny_squad)
    together = answer_questions(evaluated, questions, device=CPU)
    mixed = [5, 0, 7, 3, 3, 1]
    shuffled = answer_questions(evaluated, [questions[n] for n in mixed], device=CPU)
    alone = [answer_questions(evaluated, [questions[n]], device=CPU)[0] for n in mixed]
    for number, *others in zip(mixed, shuffled, alone, strict=True):
        for other in others:
            same(together[number], other)


def same(one: Answer, other: Answer) -> None:
    assert [c.text for c in one.candidates] == [c.text for c in other.candidates]
    assert one.no_answer_score == pytest.approx(other.no_answer_score, abs=1e-5)
    assert one.answer_probability == pytest.approx(other.answer_probability, abs=1e-4)


def test_questions_that_are_cut_are_told(
    evaluated: TrainedReader, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the tokenizer itself, on a question of one word and one of forty."""
    limit = evaluated.header.windows.max_question_tokens
    questions = ["a", " ".join("abcdefghij" * 4)]
    found = answer_questions(evaluated, [Asked(one, "a b c") for one in questions], device=CPU)
    assert found[0].question_tokens_cut == 0
    whole = len(evaluated.tokenizer.pretrained.tokenize(" Q: " + questions[1]))
    assert found[1].question_tokens_cut == whole - limit > 0
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("1 of 2 questions are too long for this reader")
    assert f"max_question_tokens={whole}" in said


def test_nothing_asked(evaluated: TrainedReader) -> None:
    assert answer_questions(evaluated, [], device=CPU) == []


@pytest.mark.parametrize(
    ("question", "passage", "where"),
    [("", "a", "question 2"), (" \n", "a", "question 2"), ("?", " ", "passage 2")],
)
def test_blank_texts(evaluated: TrainedReader, question: str, passage: str, where: str) -> None:
    with pytest.raises(InputError) as caught:
        Reader(evaluated).answer_all([("?", "a"), (question, passage)])
    assert caught.value.where == where


def test_text_without_a_word_costs_its_own_answer_alone(evaluated: TrainedReader) -> None:
    """What no tokenizer has a token for is only found out while it is read."""
    rows = [("When?", "In 1889."), ("When?", "\u200b"), ("When?", "In 1889."), None]
    found = answers_or_errors(evaluated, rows, device=CPU)
    assert [type(one) for one in found[::2]] == [Answer, Answer]
    assert isinstance(found[3], InputError)
    assert found[3].where == "row 4"


def test_long_passage_shows_how_far_it_is(
    evaluated: TrainedReader, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rich, "_console", Console(force_terminal=False))
    with caplog.at_level(logging.INFO):
        answer_questions(evaluated, [Asked("When?", "In 1889. ")], device=CPU)
        assert caplog.messages == []
        answer_questions(evaluated, [Asked("When?", "In 1889. " * 3000)], device=CPU)
    assert re.fullmatch(r"read: (\d+)/\1 windows, 0 s left", caplog.messages[-1])
