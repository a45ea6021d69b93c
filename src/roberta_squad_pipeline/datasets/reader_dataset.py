"""A trained reader as a folder of safetensors and JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from roberta_squad_pipeline.common.files import written_atomically

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.storage import TrainedReader


class ReaderDataset(AbstractDataset["TrainedReader", "TrainedReader"]):
    """Saves and loads a `TrainedReader`; the folder is written completely or not at all.

    Args:
        filepath: A local folder.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _save(self, data: "TrainedReader") -> None:
        from roberta_squad_pipeline.reader.storage import save_reader

        with written_atomically(self._filepath) as temp:
            save_reader(data, temp)

    def _load(self) -> "TrainedReader":
        from roberta_squad_pipeline.reader.storage import load_reader

        return load_reader(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "reader.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
