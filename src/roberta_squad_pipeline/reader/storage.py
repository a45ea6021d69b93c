"""A trained reader on disk: safetensors and JSON, nothing that is unpickled.

The folder holds the encoder's config.json, model.safetensors with the weights of encoder and
heads, the tokenizer's files, and reader.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.format_version import check_format_version
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader, load_encoder_config
from roberta_squad_pipeline.reader.tokenization import load_tokenizer
from roberta_squad_pipeline.squad.config import WindowConfig
from roberta_squad_pipeline.squad.features import TokenizerIdentity
from roberta_squad_pipeline.strict import StrictModel

FORMAT_VERSION: Literal[1] = 1
_WEIGHTS = "model.safetensors"
_HEADER = "reader.json"


class ReaderHeader(StrictModel):
    """What a reader needs to know beside its weights."""

    format_version: Literal[1] = FORMAT_VERSION
    tokenizer: TokenizerIdentity
    """What its features were made with."""
    windows: WindowConfig
    dropout: float


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """A reader with all that is needed to use it."""

    reader: ReaderModel
    tokenizer: PreTrainedTokenizerFast
    header: ReaderHeader
    path: Path | None = None
    """The folder it was loaded from, for other processes to load it, too."""


def save_reader(trained: TrainedReader, folder: Path) -> None:
    """Writes a reader into a folder that does not exist yet."""
    folder.mkdir(parents=True)
    trained.reader.encoder.config.save_pretrained(folder)
    trained.tokenizer.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in trained.reader.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / _HEADER).write_text(trained.header.model_dump_json(indent=2) + "\n")


def load_reader(folder: Path) -> TrainedReader:
    """Reads what `save_reader` wrote.

    Raises:
        InputError: The folder is missing, incomplete or of another version.
    """
    remedy = "Train one: kedro run --pipeline train"
    if (folder / _HEADER).is_file():
        written = (folder / _HEADER).read_bytes()
        check_format_version(written, FORMAT_VERSION, where=str(folder), remedy=remedy)
    try:
        header = ReaderHeader.model_validate_json((folder / _HEADER).read_bytes())
        reader = empty_reader(load_encoder_config(str(folder)), header.dropout)
        reader.load_state_dict(load_file(folder / _WEIGHTS))
        tokenizer = load_tokenizer(str(folder))
    except (OSError, ValidationError, SafetensorError, RuntimeError, InputError) as error:
        raise InputError(
            where=str(folder),
            got=f"no reader that loads ({str(error).splitlines()[0]})",
            expected=f"a folder with {_HEADER}, {_WEIGHTS}, config.json and a tokenizer",
            remedy=remedy,
        ) from error
    return TrainedReader(reader, tokenizer, header, folder)
