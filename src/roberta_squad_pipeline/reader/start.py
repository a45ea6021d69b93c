"""The reader that training starts from: a pre-trained encoder with new heads, or a trained reader.

A trained reader is one of this project, or transformers' question-answering model, which has an
encoder and a span head like ours, but no answerability head.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from torch import nn
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.same_run import weights_of
from roberta_squad_pipeline.common.strict import StrictModel
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
from roberta_squad_pipeline.reader.source import told_of_start
from roberta_squad_pipeline.reader.storage import is_reader, load_reader

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
    with told_of_start(config):
        load = _own_reader if is_reader(folder) else _question_answering_model
        first = load(config, folder)
    encoder_config = first.reader.encoder.config
    check_fits(encoder_config, config, max_tokens=max_tokens, vocabulary=vocabulary)
    return first


def tell_of_unused_head(encoder: str) -> None:
    """Warns of a head in an encoder's folder that a reader with new heads does not use.

    Heads for pre-training are not mentioned.

    Raises:
        InputError: The encoder's config.json cannot be loaded.
    """
    for architecture in load_encoder_config(encoder).architectures or ():
        if "For" not in architecture or architecture.endswith(_PRETRAINING):
            continue
        said = f"model.encoder={encoder} is a {architecture}, of which the encoder alone is used"
        if architecture.endswith(_QUESTION_ANSWERING):
            said += ". To use its span head as well: "
            said += f"--params model.start={encoder}, without model.encoder"
        _logger.warning(said)


def tell_of_start(config: ModelConfig, origin: Origin) -> None:
    """Logs which tensors are not used, and which are missing."""
    _logger.info("starting from %s", config.start)
    for what, tensors in (
        ("not used", origin.unused),
        ("not there, and drawn at random", origin.drawn),
    ):
        if tensors:
            _logger.warning("%s: %s: %s", config.source_parameter, what, ", ".join(tensors))


def _own_reader(config: ModelConfig, folder: Path) -> FirstReader:
    trained = load_reader(folder).in_torch
    encoder_config = trained.encoder.config
    # Some modules read their dropout only when they are created.
    set_dropout(encoder_config, config)
    reader = empty_reader(encoder_config, config.dropout, config.answerability_input)
    reader.load_state_dict(trained.state_dict())
    return FirstReader(reader, Origin(sha256=weights_of(str(folder)), unused=(), drawn=()))


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
    origin = Origin(sha256=weights_of(str(folder)), unused=tuple(unused), drawn=tuple(drawn))
    return FirstReader(reader, origin)


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
