"""Where training starts from: its folder and its tokenizer. Neither needs torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.storage import is_reader, load_header

_CHECKPOINT_ORDER: Order = "question_first"
"""transformers' question-answering models are trained on the tokenizer's own form of a pair."""

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""Files of a model on the hub that are downloaded: no pickles, no other frameworks' weights."""


def source_tokenizer(
    config: ModelConfig, start: Path | None, windows: WindowConfig
) -> PassageTokenizer:
    """Checks the encoder or reader that training starts from, and loads its tokenizer.

    Args:
        config: The encoder or reader.
        start: The folder with the files of `config.start`; None without that setting.
        windows: The windows for training.

    Raises:
        InputError: There is no tokenizer, a reader is given as an encoder, or the reader to start
            from was trained on windows of the other order.
    """
    if start is None:
        if is_reader(Path(config.source)):
            raise InputError(
                where=config.source_parameter,
                got="a trained reader",
                expected="a pre-trained encoder",
                remedy="To continue the reader: "
                f"--params model.start={config.source}, without model.encoder.",
            )
        return PassageTokenizer.load(config.source)
    with told_of_start(config):
        _check_order(config, start, windows)
        # The folder may be a temporary one.
        return PassageTokenizer.load(str(start), called=config.source)


def hub_folder(start: str) -> Path:
    """Downloads a model from the Hugging Face hub, unless it was downloaded before.

    Raises:
        InputError: There is no such model.
    """
    try:
        return Path(snapshot_download(start, allow_patterns=_FILES))
    except (OSError, ValueError) as error:
        raise InputError(
            where=f"model.start={start}",
            got="no such folder, and nothing with that name could be loaded from the hub "
            f"({str(error).strip().splitlines()[0]})",
            expected="a reader's folder, a reader in MLflow (models:/NAME/VERSION, "
            "runs:/RUN_ID/reader), or a question-answering checkpoint of transformers (folder or "
            "hub id)",
            remedy="Check the path; for a hub id, check the spelling and the network.",
        ) from error


@contextmanager
def told_of_start(config: ModelConfig) -> Iterator[None]:
    """Makes errors name what the user gave, not a temporary folder with its files."""
    try:
        yield
    except InputError as error:
        if error.where.startswith(("model.start", "features.")):
            raise
        raise error.at(config.source_parameter) from error


def _check_order(config: ModelConfig, start: Path, windows: WindowConfig) -> None:
    order = load_header(start).windows.order if is_reader(start) else _CHECKPOINT_ORDER
    if order != windows.order:
        raise InputError(
            where="features.order",
            got=f"{windows.order}, while {config.source_parameter} was trained on {order}",
            expected="windows in the order that it was trained on",
            remedy=f"Run with --params features.order={order}",
        )
