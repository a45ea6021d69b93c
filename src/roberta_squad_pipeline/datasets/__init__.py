"""Kedro datasets that kedro-datasets does not have.

Heavy libraries are loaded once a dataset is used, since most runs use few of them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError
from kedro_datasets.json import JSONDataset

from roberta_squad_pipeline.common.files import write_text, written_atomically
from roberta_squad_pipeline.squad.sources import QuestionFiles

if TYPE_CHECKING:
    import pyarrow as pa

    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.reader.storage import TrainedReader


class OptionalJSONDataset(JSONDataset):  # type: ignore[misc] # kedro-datasets has no types
    """Loads as None if there is no file, for outputs that only some runs have."""

    def load(self) -> Any:
        """The file's content."""
        return super().load() if self._exists() else None


class WholeJSONDataset(JSONDataset):  # type: ignore[misc]
    """A `JSONDataset` of a local file that is written completely or not at all."""

    def save(self, data: Any) -> None:
        """Writes a file, and replaces an earlier one in one step.

        Args:
            data: What `json.dump` takes.
        """
        write_text(Path(self._filepath), json.dumps(data, **self._save_args))


class _LocalDataset(AbstractDataset[Any, Any]):
    """A file or folder on this machine, which is written completely or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class ArrowTableDataset(_LocalDataset):
    """Saves and loads a table as Parquet, without making Python's or pandas' objects of it.

    Args:
        filepath: A local file.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def _save(self, data: "pa.Table") -> None:
        from pyarrow import parquet

        with written_atomically(self._filepath) as temp:
            parquet.write_table(data, temp)

    def _load(self) -> "pa.Table":
        from pyarrow import parquet

        return parquet.read_table(self._filepath)


class FeaturesDataset(_LocalDataset):
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
        super().__init__(filepath=filepath, metadata=metadata)
        self._optional = optional

    def _save(self, data: "pa.RecordBatchReader | Sequence[pa.RecordBatch]") -> None:
        import pyarrow as pa

        from roberta_squad_pipeline.features.file import write_features

        if not isinstance(data, pa.RecordBatchReader):
            # It belongs to an earlier run with other settings.
            self._filepath.unlink(missing_ok=True)
            return
        with written_atomically(self._filepath) as temp, pa.OSFile(str(temp), "wb") as sink:
            write_features(data, data.schema, sink)

    def _load(self) -> "Features | None":
        from roberta_squad_pipeline.features.file import Features

        missing = self._optional and not self._filepath.is_file()
        return None if missing else Features.open(self._filepath)

    def _exists(self) -> bool:
        # None is a valid value.
        return self._optional or self._filepath.is_file()


class ReaderDataset(_LocalDataset):
    """Saves and loads a `TrainedReader` as a folder of safetensors and JSON.

    Args:
        filepath: A local folder.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def _save(self, data: "TrainedReader") -> None:
        from roberta_squad_pipeline.reader.storage import save_reader

        with written_atomically(self._filepath) as temp:
            save_reader(data, temp)

    def _load(self) -> "TrainedReader":
        from roberta_squad_pipeline.reader.storage import load_reader

        return load_reader(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "reader.json").is_file()


class FolderDataset(_LocalDataset):
    """Loads as its path, whether the folder exists or not; nodes read and write files there.

    Args:
        filepath: A local folder.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def _save(self, data: None) -> NoReturn:
        raise DatasetError(f"{self._filepath}: what is in this folder is not the catalog's to save")

    def _load(self) -> Path:
        return self._filepath

    def _exists(self) -> bool:
        return True


class QuestionsDataset(AbstractDataset[None, QuestionFiles]):
    """Files of questions, wherever they are; loads as their paths, to be read part by part.

    Args:
        filepath: A file of any form, a folder or a pattern, or several of these, here or at an
            address that fsspec supports; None for the files that `data.train` or `data.dev` names.
        credentials: Arguments for fsspec; Kedro puts an entry of credentials.yml here.
        fs_args: Further arguments for fsspec.
        metadata: For plugins; Kedro and this class ignore it.
    """

    def __init__(
        self,
        *,
        filepath: str | list[str] | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        paths = [filepath] if isinstance(filepath, str) else filepath or []
        self._files = QuestionFiles(tuple(paths), {**(credentials or {}), **(fs_args or {})})
        self.metadata = metadata

    def _save(self, data: None) -> NoReturn:
        raise DatasetError("questions are not the pipeline's to save")

    def _load(self) -> QuestionFiles:
        return self._files

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._files.paths}
