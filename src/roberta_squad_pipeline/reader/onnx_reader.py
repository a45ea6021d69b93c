"""A reader that was exported to ONNX; onnxruntime computes it, without torch."""

import logging
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.torch_setup import available_cores
from roberta_squad_pipeline.reader.batching import Logits, WindowArrays

ONNX_MODEL = "model.onnx"
ONNX_INPUTS = WindowArrays._fields

_SLOW_FUSIONS = ["SkipLayerNormFusion"]
"""Of onnxruntime's own changes to a model: this operator takes four times as long as the two that
it replaces."""

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_logger = logging.getLogger(__name__)


class OnnxReader:
    """Reads windows on the CPU, on as many cores as torch would take.

    Args:
        path: Written by `write_onnx`.

    Raises:
        InputError: There is no onnxruntime, or no such model.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.threads = _threads()
        self.session = _session(path, self.threads)

    @cached_property
    def _session_of_one_thread(self) -> "InferenceSession":
        return _session(self.path, 1)

    def in_lanes(self, count: int) -> Callable[[WindowArrays], Logits]:
        """A function that reads windows, with their padding, in so many threads at a time.

        Several threads compute each for itself: to divide every operation among them takes longer.
        """
        session = self.session if count == 1 else self._session_of_one_thread

        def read(windows: WindowArrays) -> Logits:
            arrays = windows._replace(attention_mask=windows.attention_mask.astype(np.int64))
            return Logits(*session.run(None, arrays._asdict()))

        return read


def _session(path: Path, threads: int) -> "InferenceSession":
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
    options.intra_op_num_threads = threads
    # Threads that wait in a loop would keep cores from whatever else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_SLOW_FUSIONS,
        )
    except Exception as error:  # onnxruntime's errors have no other base
        raise InputError(
            where=str(path),
            got=f"no model that loads ({str(error).splitlines()[0]})",
            expected="a reader's ONNX model",
            remedy="Export it again: kedro run --pipeline export_onnx",
        ) from error


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
