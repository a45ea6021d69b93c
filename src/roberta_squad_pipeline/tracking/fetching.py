"""Provides readers in local folders, wherever they are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.reader.config import ModelConfig

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

_MLFLOW = ("models:", "runs:")


@contextmanager
def reader_folder(source: str) -> Iterator[Path]:
    """Provides a reader's folder; a reader in MLflow is fetched for the duration of the block.

    Args:
        source: A folder, or `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/RUN_ID/reader`
            in MLflow's default store: MLFLOW_TRACKING_URI or mlflow.db in the current folder.

    Raises:
        InputError: There is no such model, it is not a reader, or the store does not answer.
    """
    if not source.startswith(_MLFLOW):
        yield Path(source)
        return

    import yaml
    from mlflow import get_tracking_uri
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from roberta_squad_pipeline.tracking.models import MODEL
    from roberta_squad_pipeline.tracking.store import first_line, prepare_client

    prepare_client()
    with TemporaryDirectory() as folder:
        try:
            model = Path(download_artifacts(artifact_uri=source, dst_path=folder))
            described = yaml.safe_load((model / "MLmodel").read_text(encoding="utf-8"))
            artifact = described["flavors"]["python_function"]["artifacts"][MODEL]["path"]
        except (MlflowException, OSError, KeyError, TypeError) as error:
            raise InputError(
                where=source,
                got=f"no reader in {get_tracking_uri()} ({first_line(error)})",
                expected=f"models:/NAME/VERSION or runs:/RUN_ID/{MODEL} of a run that trained",
                remedy="Check the name in mlflow ui, and MLFLOW_TRACKING_URI.",
            ) from error
        yield model / artifact


@contextmanager
def start_folder(start: str | None) -> Iterator[Path | None]:
    """Provides the folder of `model.start`, at least for the duration of the block.

    Args:
        start: A reader or question-answering model: in a folder, in MLflow, or on the hub.

    Yields:
        The folder; None if `model.start` is not given.

    Raises:
        InputError: It is in none of the three places.
    """
    if start is None:
        yield None
        return
    with reader_folder(start) as folder:
        if folder.exists():
            yield folder
        else:
            from roberta_squad_pipeline.reader.source import hub_folder

            yield hub_folder(start)


def tokenizer_of(model: ModelConfig, windows: WindowConfig) -> "PassageTokenizer":
    """Loads the tokenizer of what training starts from: see `start_folder`, `source_tokenizer`."""
    from roberta_squad_pipeline.reader.source import source_tokenizer

    with start_folder(model.start) as start:
        return source_tokenizer(model, start, windows)
