"""A reader that onnxruntime computes: what an exported folder holds in the place of weights."""

from pathlib import Path

import torch
from torch import nn

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.model import ReaderOutput

ONNX_MODEL = "model.onnx"
ONNX_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OnnxReader(nn.Module):
    """Stands in for a `ReaderModel`, so that the same search goes over its logits.

    It computes on the CPU, with as many threads as torch has when it is loaded.

    Args:
        path: Written by `write_onnx`.

    Raises:
        InputError: There is no onnxruntime, or no such model.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                where=str(path),
                got="no onnxruntime in this environment",
                expected="onnxruntime, which computes ONNX models",
                remedy="Install it: pip install onnxruntime",
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Several lanes may call it at once, so that its threads would keep cores from them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no other base
            raise InputError(
                where=str(path),
                got=f"no model that loads ({str(error).splitlines()[0]})",
                expected="a reader's ONNX model",
                remedy="Export it again: kedro run --pipeline export_onnx",
            ) from error

    def forward(self, batch: Batch) -> ReaderOutput:
        """Reads a batch of windows, with their padding."""
        tensors = (batch.input_ids, batch.attention_mask.long(), batch.token_type_ids)
        arrays = (tensor.cpu().numpy() for tensor in tensors)
        logits = self.session.run(None, dict(zip(ONNX_INPUTS, arrays, strict=True)))
        return ReaderOutput(*map(torch.from_numpy, logits))
