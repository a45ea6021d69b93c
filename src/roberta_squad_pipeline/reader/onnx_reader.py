"""A reader that was exported to ONNX; onnxruntime computes it, without torch."""

import logging
import os
from pathlib import Path

import numpy as np

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.torch_setup import available_cores
from roberta_squad_pipeline.reader.batching import Logits, WindowArrays

ONNX_MODEL = "model.onnx"
ONNX_INPUTS = WindowArrays._fields

_logger = logging.getLogger(__name__)


class OnnxReader:
    """Reads windows on the CPU, on as many cores as torch would take.

    Args:
        path: Written by `write_onnx`.

    Raises:
        InputError: There is no onnxruntime, or no such model.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                where=str(path),
                got="no onnxruntime in this environment",
                expected="onnxruntime, which computes ONNX models",
                remedy="Install it: pip install onnxruntime",
            ) from error
        self.threads = _threads()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
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

    def read(self, windows: WindowArrays) -> Logits:
        """Reads windows, with their padding."""
        arrays = windows._replace(attention_mask=windows.attention_mask.astype(np.int64))
        return Logits(*self.session.run(None, arrays._asdict()))


def _threads() -> int:
    """OMP_NUM_THREADS where it is a number, or else the cores that there are."""
    # Of a list, the first number is for threads that no others have begun.
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if given.isdecimal() and int(given) > 0:
        return int(given)
    cores = available_cores()
    if given:
        # As OpenMP does, by which torch computes.
        _logger.warning(
            "OMP_NUM_THREADS=%s is ignored, since it is not a number of threads: onnxruntime takes "
            "%d, one for each core",
            given,
            cores,
        )
    return cores
