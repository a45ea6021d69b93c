"""JSON that may be missing."""

from typing import Any

from kedro_datasets.json import JSONDataset


class OptionalJSONDataset(JSONDataset):  # type: ignore[misc] # kedro-datasets has no types
    """Loads as None if there is no file, for outputs that only some runs have."""

    def load(self) -> Any:
        """The file's content."""
        return super().load() if self._exists() else None
