"""Where and in which format a reader computes.

Oracle: the type of a matrix product's result.
"""

import pytest
import torch
from torch import nn

from roberta_squad_pipeline.reader.config import Precision
from roberta_squad_pipeline.reader.device import available_device, computing_in, reading_in


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


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 300, 24), (5, 24), (2, 7, 24)])
def test_reading_in_fp32_is_exact(shape: tuple[int, ...], bias: bool) -> None:
    """Oracle: the product in float64."""
    torch.manual_seed(1)
    layer, values = nn.Linear(24, 40, bias=bias), torch.randn(shape)
    with torch.inference_mode(), reading_in("fp32", torch.device("cpu")):
        found = layer(values)
    expected = layer.double()(values.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_reading_in_bf16_is_computing_in_it() -> None:
    layer, values = nn.Linear(24, 40), torch.randn(3, 24)
    with torch.inference_mode(), reading_in("bf16", torch.device("cpu")):
        assert layer(values).dtype == torch.bfloat16
