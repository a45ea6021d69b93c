"""The reader that training starts from: a pre-trained encoder with new heads, or a trained reader.

A trained reader is one of this project, or transformers' question-answering model, which has an
encoder and a span head like ours, but no answerability head.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download
from torch import nn
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.model import (
    ReaderModel,
    check_complete,
    check_fits,
    empty_reader,
    load_encoder_config,
    load_weights,
    set_dropout,
)
from roberta_squad_pipeline.reader.storage import is_reader, load_header, load_reader

_CHECKPOINT_ORDER: Order = "question_first"
"""transformers' question-answering models are trained on the tokenizer's own form of a pair."""

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""Files of a model on the hub that are downloaded: no pickles, no other frameworks' weights."""

_SPAN_LOGITS = 2

_QUESTION_ANSWERING = "ForQuestionAnswering"
_PRETRAINING = ("ForMaskedLM", "ForPreTraining")
"""Endings of transformers' class names; a reader has no use for the heads of these two."""

_logger = logging.getLogger(__name__)


class Origin(StrictModel):
    """Where a reader's first weights came from, for readers of its recipe."""

    sha256: dict[str, str]
    """Hash of each file of weights, by name."""
    unused: tuple[str, ...]
    """Tensors that the reader does not use."""
    drawn: tuple[str, ...]
    """Tensors of the reader that were missing, and were drawn at random."""


class FirstReader(NamedTuple):
    """A reader before its first update."""

    reader: ReaderModel
    origin: Origin | None
    """None for a pre-trained encoder with new heads."""


def started_reader(
    config: ModelConfig, folder: Path, *, max_tokens: int, vocabulary: int
) -> FirstReader:
    """Makes a reader with the weights of another one; missing weights are random.

    Args:
        config: The dropout, and the name of `folder` in messages.
        folder: The folder with the files of `config.start`.
        max_tokens: Tokens of the longest window that it will read.
        vocabulary: Number of entries of the tokenizer.

    Raises:
        InputError: The folder contains no reader or question-answering model that can be loaded, or
            it is too short for the windows, or has fewer embeddings than the tokenizer has entries.
    """
    with _told_of_start(config):
        load = _own_reader if is_reader(folder) else _question_answering_model
        first = load(config, folder)
    encoder_config = first.reader.encoder.config
    check_fits(encoder_config, config, max_tokens=max_tokens, vocabulary=vocabulary)
    return first


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
    with _told_of_start(config):
        _check_order(config, start, windows)
        # The folder may be a temporary one.
        return PassageTokenizer.load(str(start), called=config.source)


def tell_of_unused_head(encoder: str) -> None:
    """Warns of a head in an encoder's folder that a reader with new heads does not use.

    Heads for pre-training are not mentioned.

    Raises:
        InputError: The encoder's config.json cannot be loaded.
    """
    for architecture in load_encoder_config(encoder).architectures or ():
        if architecture.endswith(_QUESTION_ANSWERING):
            _logger.warning(
                "model.encoder=%s is a %s, of which the encoder alone is used. To use its span "
                "head as well: --params model.start=%s, without model.encoder",
                *(encoder, architecture, encoder),
            )
        elif "For" in architecture and not architecture.endswith(_PRETRAINING):
            _logger.warning(
                "model.encoder=%s is a %s, of which the encoder alone is used",
                encoder,
                architecture,
            )


def tell_of_start(config: ModelConfig, origin: Origin) -> None:
    """Logs which tensors are not used, and which are missing."""
    _logger.info("starting from %s", config.start)
    if origin.unused:
        _logger.warning("%s: not used: %s", config.source_parameter, ", ".join(origin.unused))
    if origin.drawn:
        _logger.warning(
            "%s: not there, and drawn at random: %s",
            config.source_parameter,
            ", ".join(origin.drawn),
        )


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


def _own_reader(config: ModelConfig, folder: Path) -> FirstReader:
    trained = load_reader(folder).in_torch
    encoder_config = trained.encoder.config
    # Some modules read their dropout only when they are created.
    set_dropout(encoder_config, config)
    reader = empty_reader(encoder_config, config.dropout, config.answerability_input)
    reader.load_state_dict(trained.state_dict())
    return FirstReader(reader, Origin(sha256=_sha256(folder), unused=(), drawn=()))


def _question_answering_model(config: ModelConfig, folder: Path) -> FirstReader:
    model_config = load_encoder_config(str(folder))
    set_dropout(model_config, config)
    model, loaded = load_weights(AutoModelForQuestionAnswering, str(folder), model_config)
    head = _span_head(model, loaded["missing_keys"], config)
    check_complete(loaded, str(folder))
    encoder: PreTrainedModel = getattr(model, model.base_model_prefix)
    # It is saved as the trained reader's config.json.
    encoder.config.architectures = [type(encoder).__name__]
    reader = ReaderModel(encoder, config.dropout, config.answerability_input)
    reader.span_head.load_state_dict(head.state_dict())
    drawn = [name for name in reader.state_dict() if name.startswith("answerability_head.")]
    unused = sorted(loaded["unexpected_keys"])
    return FirstReader(
        reader, Origin(sha256=_sha256(folder), unused=tuple(unused), drawn=tuple(drawn))
    )


def _span_head(model: PreTrainedModel, missing: set[str], config: ModelConfig) -> nn.Linear:
    """Finds the only layer between encoder and logits.

    Raises:
        InputError: There are other layers, other logits than start and end, or no weights.
    """
    parts = {name.partition(".")[0] for name, _ in model.named_parameters()}
    head = getattr(model, "qa_outputs", None)
    if not isinstance(head, nn.Linear) or parts != {model.base_model_prefix, "qa_outputs"}:
        got = f"{type(model).__name__}, which consists of {', '.join(sorted(parts))}"
    elif head.out_features != _SPAN_LOGITS:
        got = f"{head.out_features} logits per token"
    elif "qa_outputs.weight" in missing:
        got = "a checkpoint without weights of a span head (qa_outputs)"
    else:
        return head
    raise InputError(
        where=config.source_parameter,
        got=got,
        expected="an encoder and one linear layer, qa_outputs, to a start and an end logit",
        remedy=f"Train new heads on its encoder: --params model.encoder={config.source}, without "
        "model.start.",
    )


def _check_order(config: ModelConfig, start: Path, windows: WindowConfig) -> None:
    order = load_header(start).windows.order if is_reader(start) else _CHECKPOINT_ORDER
    if order != windows.order:
        raise InputError(
            where="features.order",
            got=f"{windows.order}, while {config.source_parameter} was trained on {order}",
            expected="windows in the order that it was trained on",
            remedy=f"Run with --params features.order={order}",
        )


@contextmanager
def _told_of_start(config: ModelConfig) -> Iterator[None]:
    """Makes errors name what the user gave, not a temporary folder with its files."""
    try:
        yield
    except InputError as error:
        if error.where.startswith(("model.start", "features.")):
            raise
        raise InputError(
            where=config.source_parameter,
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


def _sha256(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.glob("*.safetensors"))}
