"""What a reader is made of: a pre-trained encoder, or a reader that training goes on from.

The latter is one of this project's, or transformers' question-answering model, which has an encoder
and a span head like ours but no answerability head.
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
"""transformers' question-answering models are trained on its tokenizers' own form of a pair."""

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""What of a model on the hub is fetched: neither pickles nor other frameworks' weights."""

_SPAN_LOGITS = 2

_QUESTION_ANSWERING = "ForQuestionAnswering"
_PRETRAINING = ("ForMaskedLM", "ForPreTraining")
"""How transformers names models; the heads of these two are of no use to a reader."""

_logger = logging.getLogger(__name__)


class Origin(StrictModel):
    """What a reader's first weights came from, for those who read its recipe."""

    sha256: dict[str, str]
    """Of each file of weights, by its name."""
    unused: tuple[str, ...]
    """Tensors that a reader has no place for."""
    drawn: tuple[str, ...]
    """The reader's tensors that were not there, and were drawn at random."""


class FirstReader(NamedTuple):
    """A reader before its first update."""

    reader: ReaderModel
    origin: Origin | None
    """None where it is a pre-trained encoder with new heads."""


def started_reader(
    config: ModelConfig, folder: Path, *, max_tokens: int, vocabulary: int
) -> FirstReader:
    """A reader with another one's weights; what that lacks is drawn from torch's random state.

    Args:
        config: Dropout, and what `folder` is called in messages.
        folder: Where the files of `config.start` lie.
        max_tokens: Tokens of the longest window it will be given.
        vocabulary: Entries of the tokenizer that it will be given tokens of.

    Raises:
        InputError: Neither a reader nor a question-answering model loads from there, or it is too
            short for the windows, or knows fewer tokens than the tokenizer makes.
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
        config: Which encoder or reader.
        start: Where the files of `config.start` lie; None if there is no such setting.
        windows: What the reader is to be trained on.

    Raises:
        InputError: There is no tokenizer, a reader is given as an encoder, or what is started from
            was trained on windows of the other order.
    """
    if start is None:
        if is_reader(Path(config.source)):
            raise InputError(
                where=config.source_parameter,
                got="a trained reader",
                expected="a pre-trained encoder",
                remedy="To go on from the reader: "
                f"--params model.start={config.source}, without model.encoder.",
            )
        return PassageTokenizer.load(config.source)
    with _told_of_start(config):
        _check_order(config, start, windows)
        # The folder may be a temporary one.
        return PassageTokenizer.load(str(start), called=config.source)


def tell_of_unused_head(encoder: str) -> None:
    """Warns of a head that an encoder's folder has and a reader with new heads does not use.

    Heads that only served pre-training are not mentioned.

    Raises:
        InputError: The encoder's config.json does not load.
    """
    for architecture in load_encoder_config(encoder).architectures or ():
        if architecture.endswith(_QUESTION_ANSWERING):
            _logger.warning(
                "model.encoder=%s is a %s, of which the encoder alone is used. To go on from its "
                "span head as well: --params model.start=%s, without model.encoder",
                *(encoder, architecture, encoder),
            )
        elif "For" in architecture and not architecture.endswith(_PRETRAINING):
            _logger.warning(
                "model.encoder=%s is a %s, of which the encoder alone is used",
                encoder,
                architecture,
            )


def tell_of_start(config: ModelConfig, origin: Origin) -> None:
    """Says which tensors of the starting point are not used, and which it lacks."""
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
    """Fetches a model from the Hugging Face hub, or finds it among those fetched before.

    Raises:
        InputError: It is not there.
    """
    try:
        return Path(snapshot_download(start, allow_patterns=_FILES))
    except (OSError, ValueError) as error:
        raise InputError(
            where=f"model.start={start}",
            got="no such folder, and nothing of that name could be loaded from the hub "
            f"({str(error).strip().splitlines()[0]})",
            expected="a reader's folder, a reader in MLflow (models:/NAME/VERSION, "
            "runs:/RUN_ID/reader), or a question-answering checkpoint of transformers (folder or "
            "hub id)",
            remedy="Check the path; for a hub id check the spelling and the network.",
        ) from error


def _own_reader(config: ModelConfig, folder: Path) -> FirstReader:
    trained = load_reader(folder).in_torch
    encoder_config = trained.encoder.config
    # Some modules keep their dropout from when they are made.
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
    # Its config.json goes into the trained reader's folder.
    encoder.config.architectures = [type(encoder).__name__]
    reader = ReaderModel(encoder, config.dropout, config.answerability_input)
    reader.span_head.load_state_dict(head.state_dict())
    drawn = [name for name in reader.state_dict() if name.startswith("answerability_head.")]
    unused = sorted(loaded["unexpected_keys"])
    return FirstReader(
        reader, Origin(sha256=_sha256(folder), unused=tuple(unused), drawn=tuple(drawn))
    )


def _span_head(model: PreTrainedModel, missing: set[str], config: ModelConfig) -> nn.Linear:
    """The one layer between encoder and logits.

    Raises:
        InputError: There are more, or it has other logits than a start and an end, or no weights.
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
    """Errors name what the user gave, where the files lie in a folder that nobody knows."""
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
