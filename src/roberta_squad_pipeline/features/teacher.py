"""What a teacher says of every window of a features file, in an Arrow file beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import Float32Array
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.features.tokens import Ragged

_META_KEY = b"roberta_squad_pipeline.teacher"


class TeacherMeta(StrictModel):
    """What logits were made of; it travels in their file."""

    format_version: Literal[1] = 1
    features_sha256: str
    teacher: str
    """A short name of the teacher's weights and the number format in which it read."""


@dataclass(frozen=True, slots=True)
class TeacherLogits:
    """A teacher's logits, in 16 bits: they are near enough, and half as large."""

    meta: TeacherMeta
    start: Ragged
    """Log-probability of each token of a window to be an answer's first. Rows: windows"""
    end: Ragged
    """The same of the last."""
    no_answer: Float32Array
    """Shape: (windows,)"""

    @classmethod
    def empty(cls, meta: TeacherMeta, window_tokens: NDArray[np.int32]) -> Self:
        """Room for the logits of windows.

        Args:
            meta: What they will be made of.
            window_tokens: Length of each window. Shape: (windows,)
        """
        start, end = (
            Ragged.of_lengths(np.zeros(int(window_tokens.sum()), np.float16), window_tokens)
            for _ in range(2)
        )
        return cls(meta, start, end, np.zeros(len(window_tokens), np.float32))

    @classmethod
    def open(cls, source: Path | bytes) -> Self:
        """Opens what `save` wrote, mapped into memory, or the content of it.

        Raises:
            InputError: It holds something else.
        """
        content = pa.py_buffer(source) if isinstance(source, bytes) else pa.memory_map(str(source))
        try:
            table = pa.ipc.open_file(content).get_batch(0)
            meta = TeacherMeta.model_validate_json(table.schema.metadata[_META_KEY])
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            raise InputError(
                where="teacher's logits",
                got=f"a file of another kind ({str(error).splitlines()[0]})",
                expected="what a run with distil.teacher wrote",
                remedy="Remove data/05_model_input; the same command makes it again.",
            ) from error
        start, end = (
            Ragged.of_lengths(column.values.to_numpy(), np.diff(column.offsets.to_numpy()))
            for column in (table.column("start"), table.column("end"))
        )
        return cls(meta, start, end, table.column("no_answer").to_numpy())

    def save(self, path: Path) -> None:
        """Writes an Arrow file, whole or not at all."""
        start, end = (
            pa.LargeListArray.from_arrays(
                np.append(rows.begins, len(rows.values)), pa.array(rows.values)
            )
            for rows in (self.start, self.end)
        )
        schema = pa.schema(
            {"start": start.type, "end": end.type, "no_answer": pa.float32()},
            metadata={_META_KEY: self.meta.model_dump_json()},
        )
        batch = pa.record_batch([start, end, pa.array(self.no_answer)], schema=schema)
        with (
            written_atomically(path) as temp,
            pa.OSFile(str(temp), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            writer.write_batch(batch)
