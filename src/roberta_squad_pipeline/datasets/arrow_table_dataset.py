"""Arrow tables as Parquet files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from kedro.io import AbstractDataset
from pyarrow import parquet

from roberta_squad_pipeline.common.files import written_atomically


class ArrowTableDataset(AbstractDataset[pa.Table, pa.Table]):
    """Saves and loads a table without making Python's or pandas' objects of it.

    Args:
        filepath: A local file; it is written completely or not at all.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _save(self, data: pa.Table) -> None:
        with written_atomically(self._filepath) as temp:
            parquet.write_table(data, temp)

    def _load(self) -> pa.Table:
        return parquet.read_table(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
