"""Features as an Arrow file, opened by mapping it into memory."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from kedro.io import AbstractDataset

from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.features.file import Features, write_features


class FeaturesDataset(AbstractDataset[pa.RecordBatchReader, Features]):
    """Saves features while they are built, and loads them by mapping the file.

    Args:
        filepath: A local file, since only local files can be mapped.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _save(self, data: pa.RecordBatchReader) -> None:
        with written_atomically(self._filepath) as temp, pa.OSFile(str(temp), "wb") as sink:
            write_features(data, data.schema, sink)

    def _load(self) -> Features:
        return Features.open(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
