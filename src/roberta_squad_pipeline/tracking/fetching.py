"""Provides readers in local folders, wherever they are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.reader.config import ModelConfig

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

_MLFLOW = ("models:", "runs:")


@contextmanager
def reader_folder(source: str) -> Iterator[Path]:
    """Provides a reader's folder; a reader in MLflow is fetched for the duration of the block.

    Args:
        source: A folder, or an address in MLflow (see `fetched_reader`).

    Raises:
        InputError: MLflow has no such reader, or does not answer.
    """
    if source.startswith(_MLFLOW):
        from roberta_squad_pipeline.tracking.models import fetched_reader

        with fetched_reader(source) as folder:
            yield folder
    else:
        yield Path(source)


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
