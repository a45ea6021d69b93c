"""The predictions of a file's questions, in the memory that their file takes."""

from collections.abc import Iterable
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from roberta_squad_pipeline.inference.prediction import Prediction

_OF_SPANS = {
    "text": pa.list_(pa.string()),
    "char_start": pa.list_(pa.int32()),
    "char_end": pa.list_(pa.int32()),
    "score": pa.list_(pa.float64()),
}
_SCHEMA = pa.schema(
    {"id": pa.string(), **_OF_SPANS, "head_logit": pa.float64(), "span_logit": pa.float64()}
)
_AT_ONCE = 1_000
"""Predictions that are Python objects at a time: with twenty spans, one takes ten kilobytes."""


def collect(predictions: Iterable[Prediction]) -> pa.Table:
    """Takes predictions one by one into a table.

    As Python's objects, all of them would take thirty times as much memory.

    Returns:
        A row per question: `id`; the `text`, `char_start`, `char_end` and `score` of its best
        spans, best first; and `head_logit` and `span_logit`, the no-answer logits of both heads,
        high = no answer.
    """
    rest, batches = iter(predictions), []
    while some := list(islice(rest, _AT_ONCE)):
        batches.append(_rows(some))
    return pa.Table.from_batches(batches, _SCHEMA)


def best_texts(nbest: pa.Table) -> dict[str, str]:
    """The text of the best span by question id."""
    texts = pc.list_element(nbest["text"], 0).to_pylist()
    return dict(zip(nbest["id"].to_pylist(), texts, strict=True))


def _rows(predictions: list[Prediction]) -> pa.RecordBatch:
    columns = [
        [each.question_id for each in predictions],
        *(
            [[getattr(span, name) for span in each.candidates] for each in predictions]
            for name in _OF_SPANS
        ),
        [each.no_answer_logit for each in predictions],
        [each.span_no_answer_logit for each in predictions],
    ]
    return pa.record_batch(columns, schema=_SCHEMA)
