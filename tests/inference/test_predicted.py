"""What is kept of predictions. Oracle: the predictions themselves."""

from collections.abc import Iterator
from unittest import mock

import pytest

from roberta_squad_pipeline.inference import predicted
from roberta_squad_pipeline.inference.predicted import best_texts, collect
from roberta_squad_pipeline.inference.prediction import Candidate, Prediction
from spans import spans_of


def predictions(count: int) -> Iterator[Prediction]:
    """With one span, two spans and so on, out of four; texts are of any alphabet."""
    for number in range(count):
        spans = (
            Candidate(f"Ødegård 😀 {number} {place}", place, place + 11, 9.5 - place / 3)
            for place in range(1 + number % 4)
        )
        yield Prediction(f"question {number}", number / 7, -number / 3, tuple(spans))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 11])
def test_every_question_keeps_its_best_text_its_logits_and_its_spans(count: int) -> None:
    """Also those at the ends of what is taken at once."""
    with mock.patch.object(predicted, "_AT_ONCE", 4):
        found = collect(predictions(count))
    given = list(predictions(count))
    assert best_texts(found) == {each.question_id: each.candidates[0].text for each in given}
    assert found["head_logit"].to_pylist() == [each.no_answer_logit for each in given]
    assert found["span_logit"].to_pylist() == [each.span_no_answer_logit for each in given]
    right = {each.question_id: [one._asdict() for one in each.candidates] for each in given}
    assert spans_of(found) == right
    assert found["id"].to_pylist() == list(right)


def test_few_predictions_are_objects_at_a_time() -> None:
    """Oracle: how many of those that were handed on are still referred to."""
    alive = most = 0

    class Counted(str):
        def __new__(cls, text: str) -> "Counted":
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, text)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def counted() -> Iterator[Prediction]:
        for each in predictions(100):
            runner_up = Candidate(Counted("runner-up"), 0, 1, 0.0)
            yield each._replace(candidates=(*each.candidates, runner_up))

    with mock.patch.object(predicted, "_AT_ONCE", 10):
        found = collect(counted())
    assert len(found) == 100
    assert 10 <= most <= 21
