"""A trained reader on disk: safetensors and JSON, nothing that is unpickled.

A reader's folder contains the encoder's config.json, model.safetensors with the weights of encoder
and heads, the tokenizer's files, and reader.json; after an evaluation, evaluation.json, too. Other
folders can be loaded as well: one written by `save_pretrained`, in transformers' layout; a reader
exported to ONNX, with model.onnx instead of config.json and weights; and an ensemble, with a folder
`members`, which contains a reader's folder for each member.
"""

import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from safetensors import SafetensorError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import check_format_version
from roberta_squad_pipeline.common.strict import Name, StrictModel
from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED, Calibration
from roberta_squad_pipeline.evaluation.no_answer import HEAD_ALONE, NoAnswerWeights
from roberta_squad_pipeline.features.build import Build, build_features
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features, check_tokenizer
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.features.tokens import TokenizerIdentity
from roberta_squad_pipeline.reader.config import AnswerabilityInput, InferenceConfig, Precision
from roberta_squad_pipeline.reader.evaluation import Evaluation, read_evaluation
from roberta_squad_pipeline.reader.onnx_reader import ONNX_MODEL, OnnxReader

if TYPE_CHECKING:
    import torch

    from roberta_squad_pipeline.reader.ensemble import EnsembleReader
    from roberta_squad_pipeline.reader.model import ReaderModel

FORMAT_VERSION: Literal[4] = 4
_OLDEST_FORMAT = 2
"""Version 2 had only one form of windows, that of the published series; version 3 one input of the
answerability head."""
WEIGHTS = "model.safetensors"
ANSWERABILITY_HEAD = "answerability_head.safetensors"
"""Weights of the head that transformers' models lack, in a folder of `save_pretrained`."""
_HEADER = "reader.json"
_EVALUATION = "evaluation.json"
MEMBERS = "members"
_REMEDY = "Train one: kedro run --pipeline train"


class ReaderHeader(StrictModel):
    """What a reader needs besides its weights."""

    format_version: Literal[4] = FORMAT_VERSION
    tokenizer: TokenizerIdentity
    """The tokenizer of its features."""
    windows: WindowConfig
    inference: InferenceConfig
    """How it answers, unless an evaluation has other settings."""
    dropout: float
    answerability_input: AnswerabilityInput
    recipe: dict[str, Any]
    """How the reader was made, for people to read."""
    members: tuple[Name, ...] = ()
    """Names of an ensemble's members; empty for a single reader."""


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """A reader with everything that its use requires."""

    reader: "ReaderModel | OnnxReader | EnsembleReader"
    tokenizer: PassageTokenizer
    header: ReaderHeader
    path: Path | None = None
    """The folder it was loaded from, so that other processes can load it, too."""
    evaluation: Evaluation | None = None
    """Its scores and tuning, if it was evaluated."""
    members: tuple["TrainedReader", ...] = ()
    """The members of an ensemble, in the order of their names in the header."""

    @property
    def module(self) -> "ReaderModel | EnsembleReader":
        """The reader or ensemble as a module of torch.

        Raises:
            InputError: It was loaded from an ONNX model.
        """
        if isinstance(self.reader, OnnxReader):
            raise self._without_weights(
                "a reader that was exported to ONNX", "Take the reader that it was exported from."
            )
        return self.reader

    @property
    def in_torch(self) -> "ReaderModel":
        """The reader as a single model with weights.

        Raises:
            InputError: It was loaded from an ONNX model, or is an ensemble.
        """
        if self.members:
            raise self._without_weights(
                "an ensemble of readers",
                "Take one of its members, or train a student: kedro run --pipeline distil",
            )
        return cast("ReaderModel", self.module)

    def _without_weights(self, got: str, remedy: str) -> InputError:
        expected = "a reader with weights of its own"
        return InputError(where=str(self.path), got=got, expected=expected, remedy=remedy)

    @property
    def parts(self) -> tuple["TrainedReader", ...]:
        """An ensemble's members if their windows differ, otherwise the whole reader."""
        read = {(each.header.tokenizer.sha256, each.header.windows) for each in self.members}
        return self.members if len(read) > 1 else (self,)

    def builds(self, source: str, data_sha256: str = "") -> Build:
        """Builds features of the reader's own tokens and windows; see `build_features`."""
        return partial(
            build_features,
            tokenizer=self.tokenizer,
            windows=self.header.windows,
            source=source,
            data_sha256=data_sha256,
        )

    def fast_precision(self, device: "torch.device | None" = None) -> Precision:
        """The number format in which a device, or else this machine's, reads fast."""
        if isinstance(self.reader, OnnxReader):  # computes in fp32, where torch may be missing
            return "fp32"
        from roberta_squad_pipeline.reader.device import available_device, fast_precision

        return fast_precision(device or available_device())

    @property
    def inference(self) -> InferenceConfig:
        """How spans are searched and scored; a threshold is valid only for these settings."""
        return self.evaluation.inference if self.evaluation else self.header.inference

    @property
    def no_answer_weights(self) -> NoAnswerWeights:
        """The weights of the reader's two logits in its no-answer score."""
        return self.evaluation.no_answer_weights if self.evaluation else HEAD_ALONE

    @property
    def calibration(self) -> Calibration:
        """The threshold, and the meaning of scores as probabilities."""
        return self.evaluation.calibration if self.evaluation else UNCALIBRATED


def check_features(features: Features, header: ReaderHeader) -> None:
    """Checks that features have the layout that a reader was trained on.

    Raises:
        InputError: They have another tokenizer, or the other order.
    """
    check_tokenizer(features, header.tokenizer.sha256, where="reader")
    order = features.meta.windows.order
    if order != header.windows.order:
        raise InputError(
            where="reader",
            got=f"features with the order {order}",
            expected=f"the order that the reader was trained on, {header.windows.order}",
            remedy=f"Build them again: kedro run --pipelines features,inference,evaluate --params "
            f"features.order={header.windows.order}, with your other --params.",
        )


def save_reader(trained: TrainedReader, folder: Path) -> None:
    """Writes a reader into a new folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    for name, member in zip(trained.header.members, trained.members, strict=True):
        save_reader(member, folder / MEMBERS / name)
    if not trained.members:
        reader = trained.in_torch
        reader.encoder.config.save_pretrained(folder)
        weights = {name: tensor.contiguous() for name, tensor in reader.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    save_beside_weights(trained, folder)


def save_beside_weights(trained: TrainedReader, folder: Path) -> None:
    """Writes tokenizer, header and, if there is one, the evaluation into a folder."""
    trained.tokenizer.pretrained.save_pretrained(folder)
    (folder / _HEADER).write_text(trained.header.model_dump_json(indent=2) + "\n")
    if trained.evaluation is not None:
        (folder / _EVALUATION).write_text(trained.evaluation.model_dump_json(indent=2) + "\n")


def load_reader(folder: Path) -> TrainedReader:
    """Loads a reader from a folder of `save_reader`, `save_pretrained` or `export_onnx`.

    Raises:
        InputError: The folder is missing, incomplete or of another version, or onnxruntime is not
            installed for its model.
    """
    header = load_header(folder)
    onnx = OnnxReader(folder / ONNX_MODEL) if (folder / ONNX_MODEL).is_file() else None
    try:
        members = tuple(load_reader(folder / MEMBERS / name) for name in header.members)
        reader = _ensemble(members) if members else onnx or _load_weights(folder, header)
        tokenizer = PassageTokenizer.load(str(folder))
        evaluation = load_evaluation(folder)
        return TrainedReader(reader, tokenizer, header, folder, evaluation, members)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError, InputError) as error:
        raise _no_reader(folder, error) from error


def _load_weights(folder: Path, header: ReaderHeader) -> "ReaderModel":
    # Imported here, since torch need not be installed for onnxruntime.
    from safetensors.torch import load_file

    from roberta_squad_pipeline.reader.model import empty_reader, load_encoder_config

    reader = empty_reader(
        load_encoder_config(str(folder)), header.dropout, header.answerability_input
    )
    weights = load_file(folder / WEIGHTS)
    head = folder / ANSWERABILITY_HEAD
    if head.is_file():
        from roberta_squad_pipeline.reader.exchange.pretrained import from_question_answering

        weights = from_question_answering(weights, load_file(head))
    reader.load_state_dict(weights)
    return reader


def _ensemble(members: tuple[TrainedReader, ...]) -> "EnsembleReader":
    from roberta_squad_pipeline.reader.ensemble import EnsembleReader

    return EnsembleReader([member.in_torch for member in members])


def is_reader(folder: Path) -> bool:
    """Whether a folder contains a reader of this project, in its own layout or transformers'."""
    return (folder / _HEADER).is_file()


def load_header(folder: Path) -> ReaderHeader:
    """Reads a reader's header, and upgrades one of an older version.

    Raises:
        InputError: There is none, or it is damaged or of an unknown version.
    """
    try:
        written = (folder / _HEADER).read_bytes()
    except OSError as error:
        raise _no_reader(folder, error) from error
    check_format_version(
        written, FORMAT_VERSION, where=str(folder), remedy=_REMEDY, oldest=_OLDEST_FORMAT
    )
    try:
        return _upgraded(written)
    except (ValueError, KeyError, TypeError) as error:
        raise _no_reader(folder, error) from error


def load_evaluation(folder: Path) -> Evaluation | None:
    """Reads the evaluation in a reader's folder; None if it was never evaluated.

    Raises:
        ValueError: The file has another content.
        KeyError: It has no format version.
    """
    saved = folder / _EVALUATION
    return read_evaluation(json.loads(saved.read_bytes())) if saved.is_file() else None


def _no_reader(folder: Path, error: Exception) -> InputError:
    others = [header.parent.name for header in folder.parent.glob(f"*/{_HEADER}")]
    close = [] if folder.exists() else get_close_matches(folder.name, others)
    return InputError(
        where=str(folder),
        got=f"no reader that loads ({str(error).splitlines()[0]})",
        expected=f"a folder with {_HEADER}, {WEIGHTS}, config.json and a tokenizer",
        remedy=(f"Did you mean {' or '.join(close)}? " if close else "") + _REMEDY,
    )


def _upgraded(written: bytes) -> ReaderHeader:
    header = json.loads(written)
    written_as, header["format_version"] = header["format_version"], FORMAT_VERSION
    if written_as < FORMAT_VERSION:
        header["answerability_input"] = "first_token"
    if written_as == _OLDEST_FORMAT:
        header["windows"]["order"] = "passage_first"
        header["tokenizer"]["special_tokens"]["pair_separators"] = 1
    return ReaderHeader.model_validate(header)
