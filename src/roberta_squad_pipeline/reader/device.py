"""Where and in which number format a reader computes."""

from contextlib import AbstractContextManager, nullcontext

import torch

from roberta_squad_pipeline.reader.config import Precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def available_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Forward passes inside this context compute in the given format where that is safe."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])
