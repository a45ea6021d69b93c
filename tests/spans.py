"""The best spans of every question, as a run keeps them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

FIELDS = ["text", "char_start", "char_end", "score"]


def read_spans(output: Path) -> dict[str, list[dict[str, Any]]]:
    """Of a run's folder of predictions: each question's spans by its id, best first."""
    return spans_of(parquet.read_table(output / "nbest.parquet"))


def spans_of(nbest: pa.Table) -> dict[str, list[dict[str, Any]]]:
    return {
        row["id"]: [
            dict(zip(FIELDS, span, strict=True))
            for span in zip(*(row[name] for name in FIELDS), strict=True)
        ]
        for row in nbest.to_pylist()
    }


def as_nbest(spans: dict[str, list[dict[str, Any]]], head_logits: dict[str, float]) -> pa.Table:
    """The other way round, with logits of the answerability head alone."""
    return pa.Table.from_pylist(
        [
            {"id": question, "head_logit": head_logits[question], "span_logit": 0.0}
            | {name: [span[name] for span in best] for name in FIELDS}
            for question, best in spans.items()
        ]
    )
