"""Where and in which format a reader computes.

Oracle: the type of a matrix product's result.
"""

import pytest
import torch

from roberta_squad_pipeline.reader.config import Precision
from roberta_squad_pipeline.reader.device import available_device, computing_in


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert available_device().type == kind


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_products_are_made_in_the_format(precision: Precision, expected: torch.dtype) -> None:
    matrix = torch.eye(2)
    with computing_in(precision, torch.device("cpu")):
        assert (matrix @ matrix).dtype == expected
    assert (matrix @ matrix).dtype == torch.float32
