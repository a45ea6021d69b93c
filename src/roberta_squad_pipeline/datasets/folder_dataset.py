"""A folder in which nodes read and write files themselves."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError


class FolderDataset(AbstractDataset[None, Path]):
    """Loads as its path, whether the folder exists or not.

    Args:
        filepath: A local folder.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _save(self, data: None) -> NoReturn:
        raise DatasetError(f"{self._filepath}: what is in this folder is not the catalog's to save")

    def _load(self) -> Path:
        return self._filepath

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
