"""Files of questions, wherever they are."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from roberta_squad_pipeline.squad.sources import QuestionFiles


class QuestionsDataset(AbstractDataset[None, QuestionFiles]):
    """Loads as the paths of the files, which can then be read part by part.

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
