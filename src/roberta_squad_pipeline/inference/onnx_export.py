"""A reader as an ONNX model, which is accepted only if it predicts the same."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import Prediction, predict
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput

AGREEMENT = 1e-3
"""Most that the score of a question's best span, or its no-answer score, may differ."""

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_WINDOWS, _TOKENS = 2, 8  # what is traced with; any other number will do


class _OnTensors(nn.Module):
    """A reader as ONNX calls it: padded windows, their mask as numbers."""

    def __init__(self, reader: ReaderModel) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
        none = input_ids[:, 0]
        batch = Batch(input_ids, attention_mask.bool(), token_type_ids, none, none, none, none)
        return tuple(self.reader(batch))


class OnnxReader(nn.Module):
    """Stands in for a `ReaderModel`, so that the same search goes over its logits.

    Args:
        path: Written by `write_onnx`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def forward(self, batch: Batch) -> ReaderOutput:
        """Reads a batch of windows, with their padding."""
        tensors = (batch.input_ids, batch.attention_mask.long(), batch.token_type_ids)
        given = dict(zip(_INPUTS, (tensor.numpy() for tensor in tensors), strict=True))
        return ReaderOutput(*map(torch.from_numpy, self.session.run(None, given)))


def write_onnx(reader: ReaderModel, windows: WindowConfig, path: Path) -> None:
    """Writes a reader for any number of windows and of tokens, padded.

    Inputs are input_ids, attention_mask (1 where there is a token) and token_type_ids, each of the
    shape (windows, tokens); outputs start_logits, end_logits and no_answer_logits. The file's
    metadata say how windows are laid out.

    Args:
        reader: Which is written.
        windows: How its windows are laid out.
        path: The file.

    Raises:
        InputError: What it takes is not installed.
    """
    _check_installed()
    # The exporter tells of what it tries by itself.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    ids = torch.arange(_WINDOWS * _TOKENS).view(_WINDOWS, _TOKENS)
    mask = torch.ones_like(ids)
    mask[0, -1] = 0  # without padding to be seen, transformers leaves the mask out
    axes = {0: "windows", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            _OnTensors(reader.cpu().eval()),
            (ids, mask, torch.zeros_like(ids)),
            input_names=_INPUTS,
            output_names=ReaderOutput._fields,
            dynamic_shapes=[axes, axes, axes],
            dynamo=True,
            verbose=False,
        )
    layout = {f"windows.{name}": str(value) for name, value in windows.model_dump().items()}
    # It is None only where torch.export is not what exports.
    program = cast(torch.onnx.ONNXProgram, exported)
    program.model.metadata_props.update(layout)
    program.save(path, external_data=False)


def check_onnx(
    path: Path, reader: ReaderModel, features: Features, config: InferenceConfig
) -> float:
    """Holds what ONNX predicts against what the reader does, both in fp32 on the CPU.

    Args:
        path: Written by `write_onnx`.
        reader: The same reader.
        features: Questions to try it on.
        config: How spans are searched and scored.

    Returns:
        The largest difference of two scores.

    Raises:
        InputError: An answer differs, or a score by more than `AGREEMENT`.
    """
    config = config.model_copy(update={"precision": "fp32"})
    ours, theirs = (
        list(predict(one, features, config, device=torch.device("cpu"), on_windows=lambda _: None))
        for one in (reader, OnnxReader(path))
    )
    return compare_predictions(ours, theirs)


def compare_predictions(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> float:
    """See `check_onnx`."""
    largest = 0.0
    for one, other in zip(ours, theirs, strict=True):
        mine, yours = one.candidates[0], other.candidates[0]
        apart = max(
            abs(mine.score - yours.score),
            abs(one.no_answer_logit - other.no_answer_logit),
            abs(one.span_no_answer_logit - other.span_no_answer_logit),
        )
        if (mine.char_start, mine.char_end) != (yours.char_start, yours.char_end) or (
            not apart <= AGREEMENT
        ):
            raise InputError(
                where=f"ONNX, question {one.question_id}",
                got=f"{yours.text!r} with scores that differ by {apart:.1e}",
                expected=f"{mine.text!r}, and scores that differ by {AGREEMENT} at most",
                remedy="The ONNX model is not kept. Use the reader itself.",
            )
        largest = max(largest, apart)
    return largest


def _check_installed() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            where="export_onnx",
            got=f"no {error.name} in this environment",
            expected="onnx, onnxscript and onnxruntime",
            remedy='Install them: pip install -e ".[onnx]"',
        ) from error
