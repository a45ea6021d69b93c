"""A teacher's logits for every window of a features file, in an Arrow file of their own."""

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
    """What logits were made from; stored in their file."""

    format_version: Literal[1] = 1
    features_sha256: str
    teacher: str
    """A short name of the teacher's weights and of the number format that it computed in."""


@dataclass(frozen=True, slots=True)
class TeacherLogits:
    """A teacher's logits. Sixteen bits are accurate enough, and take half the space."""

    meta: TeacherMeta
    start: Ragged
    """Log-probability that an answer starts at each token. Rows: windows"""
    end: Ragged
    """Log-probability that an answer ends at each token. Rows: windows"""
    no_answer: Float32Array
    """No-answer logits. Shape: (windows,)"""

    @classmethod
    def empty(cls, meta: TeacherMeta, window_tokens: NDArray[np.int32]) -> Self:
        """Makes arrays for the logits of windows.

        Args:
            meta: What the logits will be made from.
            window_tokens: Length of each window in tokens. Shape: (windows,)
        """
        start, end = (
            Ragged.of_lengths(np.zeros(int(window_tokens.sum()), np.float16), window_tokens)
            for _ in range(2)
        )
        return cls(meta, start, end, np.zeros(len(window_tokens), np.float32))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps a file written by `save` into memory.

        Raises:
            InputError: It has another content.
        """
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            meta = TeacherMeta.model_validate_json(table.schema.metadata[_META_KEY])
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            raise InputError(
                where="teacher's logits",
                got=f"a file with other data ({str(error).splitlines()[0]})",
                expected="a file written by a run with distil.teacher",
                remedy="Delete data/05_model_input; the same command writes it again.",
            ) from error
        start, end = (
            Ragged.of_lengths(column.values.to_numpy(), np.diff(column.offsets.to_numpy()))
            for column in (table.column("start"), table.column("end"))
        )
        return cls(meta, start, end, table.column("no_answer").to_numpy())

    def save(self, path: Path) -> None:
        """Writes an Arrow file completely or not at all."""
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
