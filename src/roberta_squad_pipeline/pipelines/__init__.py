"""Kedro pipelines: adapt and wire. Here is how, and the types of what their nodes take and return.

Kedro resolves the hints of its nodes when it lists pipelines. Types whose modules load pandas,
Arrow or torch are therefore known to a type checker alone, and `Any` otherwise.
"""

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

from kedro.pipeline import node
from kedro.pipeline.node import Node

from roberta_squad_pipeline.runs.parameters import Parameters

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame
    from pyarrow import RecordBatch as RecordBatch
    from pyarrow import RecordBatchReader as RecordBatchReader
    from pyarrow import Table as Table

    from roberta_squad_pipeline.features.file import Features as Features
    from roberta_squad_pipeline.features.teacher import TeacherLogits as TeacherLogits
    from roberta_squad_pipeline.reader.start import Origin as Origin
    from roberta_squad_pipeline.reader.storage import TrainedReader as TrainedReader
    from roberta_squad_pipeline.squad.held_out import FilePart as FilePart
    from roberta_squad_pipeline.training.validation import Validation as Validation
else:
    DataFrame = RecordBatch = RecordBatchReader = Features = TeacherLogits = Any
    Origin = TrainedReader = FilePart = Validation = Table = Any

SquadFiles = dict[str, dict[str, Any]]
"""By split (train, dev; validation, unlabelled where there are such): path, size_bytes, sha256."""

_OTHER_WORDS = {"trained": "reader", "windows": "params:features"}
"""Arguments that are not called like what they take."""


def stage(
    work: Callable[..., Any],
    *outputs: str,
    namespace: str | None = None,
    tags: list[str] | None = None,
    **takes: str,
) -> Node:
    """Makes a node of a function, whose arguments are called like the datasets that they take.

    Those that are called like a parameter or a section of parameters take this.

    Args:
        work: The function, whose name is the node's. Of several outputs it returns a dictionary.
        outputs: Names of the datasets that it makes.
        namespace: The node's box in Kedro-Viz.
        tags: The node's tags.
        takes: What else some arguments take.
    """
    sections = {name: f"params:{name}" for name in Parameters.model_fields}
    named = sections | _OTHER_WORDS | takes
    several = len(outputs) > 1
    return node(
        work,
        {name: named.get(name, name) for name in signature(work).parameters},
        {name: name for name in outputs} if several else next(iter(outputs), None),
        name=work.__name__,
        namespace=namespace,
        tags=tags,
    )
