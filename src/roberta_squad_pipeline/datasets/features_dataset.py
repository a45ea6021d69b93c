"""Features as an Arrow file, opened by mapping it into memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from kedro.io import AbstractDataset

from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.features.file import Features, write_features


class FeaturesDataset(
    AbstractDataset[pa.RecordBatchReader | Sequence[pa.RecordBatch], Features | None]
):
    """Saves features while they are built, and loads them by mapping the file.

    Args:
        filepath: A local file, since only local files can be mapped.
        optional: Whether only some runs have them: without a file they load as None, and saving an
            empty sequence removes the file.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def __init__(
        self, *, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._optional = optional
        self.metadata = metadata

    def _save(self, data: pa.RecordBatchReader | Sequence[pa.RecordBatch]) -> None:
        if not isinstance(data, pa.RecordBatchReader):
            # It belongs to an earlier run with other settings.
            self._filepath.unlink(missing_ok=True)
            return
        with written_atomically(self._filepath) as temp, pa.OSFile(str(temp), "wb") as sink:
            write_features(data, data.schema, sink)

    def _load(self) -> Features | None:
        missing = self._optional and not self._filepath.is_file()
        return None if missing else Features.open(self._filepath)

    def _exists(self) -> bool:
        # None is a valid value.
        return self._optional or self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
