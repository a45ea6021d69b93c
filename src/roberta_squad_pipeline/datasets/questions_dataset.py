"""Files of questions, wherever they are."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from roberta_squad_pipeline.squad.sources import QuestionFiles


class QuestionsDataset(AbstractDataset[None, QuestionFiles]):
    """Loads as the place of the files, so that these can be read a part at a time.

    Args:
        filepath: A file of any form, a folder or a pattern, or several of these, here or at an
            address that fsspec knows; None stands for what `data.train` or `data.dev` says.
        credentials: For fsspec; Kedro puts an entry of credentials.yml here.
        fs_args: More for fsspec.
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
