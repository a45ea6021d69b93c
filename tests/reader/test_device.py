"""Where and in which format a reader computes.

Oracle: the type of a matrix product's result.
"""

from contextlib import nullcontext, suppress

import pytest
import torch
from torch import nn

from roberta_squad_pipeline.reader.config import InferenceParameters, Precision, PrecisionSetting
from roberta_squad_pipeline.reader.device import (
    available_device,
    computing_in,
    fast_precision,
    fast_products,
    products_are_fast,
    reading_in,
    rounding_weights_once,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert available_device().type == kind


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"avx2": True, "amx_bf16": False, "avx512_bf16": False}, "fp32"),
        ({"avx2": True, "avx512_f": True}, "fp32"),
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"avx512_f": True, "amx_tile": True, "amx_bf16": True}, "bf16"),
        ({"neon": True, "bf16": False}, "fp32"),
    ],
)
def test_a_cpu_computes_bf16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], expected: str
) -> None:
    """Oracle: the instruction sets' names; a CPU of another kind than x86 has none of these."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fast_precision(torch.device("cpu")) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_computes_bf16_unless_it_emulates_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation
    )
    assert fast_precision(torch.device("cuda")) == expected


@pytest.mark.parametrize("setting", ["auto", "fp32", "bf16", "fp16"])
def test_auto_alone_leaves_the_format_to_the_device(setting: PrecisionSetting) -> None:
    given = InferenceParameters(
        batch_windows=1, precision=setting, max_answer_tokens=1, n_best=1, null_score="best_span"
    )
    assert given.resolved("bf16").precision == ("bf16" if setting == "auto" else setting)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_products_are_made_in_the_format(precision: Precision, expected: torch.dtype) -> None:
    matrix = torch.eye(2)
    with computing_in(precision, torch.device("cpu")):
        assert (matrix @ matrix).dtype == expected
    assert (matrix @ matrix).dtype == torch.float32


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 300, 24), (5, 24), (2, 7, 24)])
def test_reading_in_fp32_is_exact(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], bias: bool, wide: bool
) -> None:
    """Oracle: the product in float64; `wide` says whether registers are said to be of 512 bits."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": wide})
    torch.manual_seed(1)
    layer, values = nn.Linear(24, 40, bias=bias), torch.randn(shape)
    with torch.inference_mode(), reading_in("fp32", torch.device("cpu")):
        found = layer(values)
    expected = layer.double()(values.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("has", "may_round", "expected"),
    [
        ({"avx512_f": True, "amx_bf16": False}, False, True),
        ({"avx512_f": True, "amx_bf16": False}, True, True),
        ({"avx512_f": True, "amx_bf16": True}, False, False),
        ({"avx512_f": True, "amx_bf16": True}, True, True),
        ({"avx2": True}, False, False),
        ({"neon": True}, False, False),
    ],
)
def test_onednn_multiplies_unless_it_would_round(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], may_round: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    with fast_products(CPU, may_round=may_round):
        assert products_are_fast() is expected
    assert not products_are_fast()


def test_onednn_multiplies_as_long_as_any_thread_wants_it() -> None:
    """Contexts that overlap without lying in each other; after an error, too."""
    one, other = (fast_products(CPU, may_round=True) for _ in range(2))
    rule = torch.backends.mkldnn.matmul.fp32_precision
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert products_are_fast()
    other.__exit__(None, None, None)
    assert torch.backends.mkldnn.matmul.fp32_precision == rule
    with suppress(ZeroDivisionError), fast_products(CPU, may_round=True):
        _ = 1 / 0
    assert torch.backends.mkldnn.matmul.fp32_precision == rule


def test_a_gpu_multiplies_by_its_own_rules() -> None:
    with fast_products(torch.device("cuda"), may_round=True):
        assert not products_are_fast()


def test_products_in_fp32_stay_exact() -> None:
    """Oracle: products in float64; with factors rounded to bf16, they would be a hundredth off."""
    torch.manual_seed(1)
    layer, (left, right) = nn.Linear(64, 40), torch.randn(2, 3, 70, 64)
    with torch.no_grad(), fast_products(CPU, may_round=False):
        found = torch.bmm(left, right.transpose(1, 2)), layer(left)
    layer.double()
    expected = torch.bmm(left.double(), right.double().transpose(1, 2)), layer(left.double())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_products_of_factors_that_bf16_holds_stay_exact_there() -> None:
    """Oracle: the product in float64; bf16's own result would be a hundredth off."""
    torch.manual_seed(1)
    left, right = (torch.randn(3, 70, 64).bfloat16().float() for _ in range(2))
    with fast_products(CPU, may_round=True):
        found = torch.bmm(left, right.transpose(1, 2))
    expected = torch.bmm(left.double(), right.double().transpose(1, 2))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("once", [True, False])
def test_weights_are_rounded_once_for_several_passes(once: bool) -> None:
    """Oracle: of two passes and their gradients outside of the context, the same bits.

    After it, changed weights are rounded again.
    """
    torch.manual_seed(1)
    layer, passes = nn.Linear(24, 40), torch.randn(2, 5, 24)

    def read(values: torch.Tensor) -> torch.Tensor:
        with computing_in("bf16", CPU):
            output: torch.Tensor = layer(values)
        output.float().square().sum().backward()
        return output

    expected = [read(values) for values in passes]
    gradients = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad()
    context = rounding_weights_once(CPU) if once else nullcontext()
    with torch.profiler.profile(record_shapes=True) as profile, context:
        found = [read(values) for values in passes]
    assert all(map(torch.equal, found, expected))
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert gradient is not None
        assert torch.equal(parameter.grad, gradient)
    shapes = [each.input_shapes[0] for each in profile.events() if each.name == "aten::_to_copy"]
    # Both passes' gradients of the weight are made 32 bits wide.
    assert shapes.count([40, 24]) == 2 + (1 if once else 2)
    nn.init.zeros_(layer.weight)
    assert torch.equal(read(passes[0])[0], layer.bias.bfloat16())


def test_reading_in_bf16_is_computing_in_it() -> None:
    layer, values = nn.Linear(24, 40), torch.randn(3, 24)
    with torch.inference_mode(), reading_in("bf16", torch.device("cpu")):
        assert layer(values).dtype == torch.bfloat16
