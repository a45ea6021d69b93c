"""The predictions of a file's questions, in the memory that their files take."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from roberta_squad_pipeline.inference.prediction import Prediction

_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.list_(pa.string()),
        "char_start": pa.list_(pa.int32()),
        "char_end": pa.list_(pa.int32()),
        "score": pa.list_(pa.float64()),
    }
)
_AT_ONCE = 1_000
"""Predictions that are Python objects at a time: with twenty spans, one takes ten kilobytes."""


class Predicted(NamedTuple):
    """What is predicted for the questions of a file."""

    predictions: dict[str, str]
    """The text of the best span by question id."""
    no_answer_logits: dict[str, dict[str, float]]
    """The logits of both heads by question id, high = no answer."""
    nbest: pa.Table
    """A row per question: `id`, and the `text`, `char_start`, `char_end` and `score` of its best
    spans, best first. Python's objects would take thirty times as much memory."""


def collect(predictions: Iterable[Prediction]) -> Predicted:
    """Takes predictions one by one, and keeps what their files hold."""
    texts: dict[str, str] = {}
    logits: dict[str, dict[str, float]] = {}

    def noted() -> Iterator[Prediction]:
        for prediction in predictions:
            texts[prediction.question_id] = prediction.candidates[0].text
            logits[prediction.question_id] = prediction.no_answer_logits
            yield prediction

    rest, batches = noted(), []
    while some := list(islice(rest, _AT_ONCE)):
        batches.append(_spans(some))
    return Predicted(texts, logits, pa.Table.from_batches(batches, _SCHEMA))


def _spans(predictions: list[Prediction]) -> pa.RecordBatch:
    ids = [prediction.question_id for prediction in predictions]
    columns = (
        [[getattr(span, name) for span in prediction.candidates] for prediction in predictions]
        for name in _SCHEMA.names[1:]
    )
    return pa.record_batch([ids, *columns], schema=_SCHEMA)
