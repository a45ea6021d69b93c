"""Features that only some runs have."""

from collections.abc import Sequence

import pyarrow as pa

from roberta_squad_pipeline.datasets.features_dataset import FeaturesDataset
from roberta_squad_pipeline.features.file import Features


class OptionalFeaturesDataset(FeaturesDataset):
    """Loads as None if there is no file; saving an empty sequence removes the file."""

    def _save(self, data: pa.RecordBatchReader | Sequence[pa.RecordBatch]) -> None:
        if isinstance(data, pa.RecordBatchReader):
            super()._save(data)
        else:
            # It belongs to an earlier run with other settings.
            self._filepath.unlink(missing_ok=True)

    def _load(self) -> Features | None:  # type: ignore[override]  # None is what it is for
        return super()._load() if self._filepath.is_file() else None

    def _exists(self) -> bool:
        # None is a valid value.
        return True
