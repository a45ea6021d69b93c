"""Kedro pipelines: adapt and wire. Here are the types of what their nodes take and return.

Kedro resolves the hints of its nodes when it lists pipelines. Types whose modules load pandas,
Arrow or torch are therefore known to a type checker alone, and `Any` otherwise.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame
    from pyarrow import RecordBatch as RecordBatch
    from pyarrow import RecordBatchReader as RecordBatchReader

    from roberta_squad_pipeline.features.file import Features as Features
    from roberta_squad_pipeline.features.teacher import TeacherLogits as TeacherLogits
    from roberta_squad_pipeline.reader.start import Origin as Origin
    from roberta_squad_pipeline.reader.storage import TrainedReader as TrainedReader
    from roberta_squad_pipeline.squad.held_out import FilePart as FilePart
    from roberta_squad_pipeline.training.validation import Validation as Validation
else:
    DataFrame = RecordBatch = RecordBatchReader = Features = TeacherLogits = Any
    Origin = TrainedReader = FilePart = Validation = Any

SquadFiles = dict[str, dict[str, Any]]
"""By split (train, dev; validation, unlabelled where there are such): path, size_bytes, sha256."""
