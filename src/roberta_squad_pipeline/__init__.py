"""Training extractive question-answering readers that know when to say "no answer"."""

from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.torch_setup import set_up_torch

if TYPE_CHECKING:
    from roberta_squad_pipeline.api import Reader

__all__ = ["Reader"]
__version__ = "0.1.0"

set_up_torch()  # here, since it has to be before any module of this package imports torch


def __getattr__(name: str) -> Any:
    # Only who asks for the reader waits for torch.
    if name == "Reader":
        from roberta_squad_pipeline.api import Reader

        return Reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
