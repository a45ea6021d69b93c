"""Oracle: what a user has to be told; each message names place, finding, rule and remedy."""

import copy
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.parameters import Parameters, check_parameters
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    raw: dict[str, Any] = OmegaConfigLoader("conf", env="base", **CONFIG_LOADER_ARGS)["parameters"]
    return raw


def _changed(raw: dict[str, Any], dotted: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(raw)
    *sections, key = dotted.split(".")
    section = changed
    for name in sections:
        section = section[name]
    section[key] = value
    return changed


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        ("training.lrr", 1, "parameter training.lrr: got an unknown name; expected one of updates"),
        ("training.lrr", 1, "Did you mean training.lr?"),
        ("trainig", {}, "parameter trainig: got an unknown name; expected one of experiment, run"),
        ("trainig", {}, "Did you mean training?"),
        ("training.loss_scale.inital", 1, "Did you mean training.loss_scale.initial?"),
        ("training.lr", "abc", "parameter training.lr: got 'abc'; expected a valid number"),
        ("training.lr", -1, "parameter training.lr: got -1; expected greater than 0"),
        ("training.precision", "fp8", "expected 'fp32', 'bf16' or 'fp16'"),
        ("training.warmup_updates", 10**6, "training.warmup_updates: got 1000000 updates"),
        ("features.stride", 1000, "features.stride: got 1000 tokens from window to window"),
        ("data.on_misaligned", "ignore", "expected 'error', 'drop' or 'repair'"),
        ("data.sources.demo_dev.passages", 0, "parameter data.sources.demo_dev.passages: got 0"),
        ("data.sources.demo_dev.kind", "x", "parameter data.sources.demo_dev: got"),
        ("run", "../up", "parameter run: got '../up'"),
        ("run", "", "parameter run: got ''"),
    ],
)
def test_a_wrong_parameter_is_named(
    base: dict[str, Any], dotted: str, value: object, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_parameters(_changed(base, dotted, value))
    assert said in str(caught.value)


def test_a_missing_parameter_is_named(base: dict[str, Any]) -> None:
    lacking = copy.deepcopy(base)
    del lacking["training"]["updates"]
    with pytest.raises(InputError, match=r"parameter training\.updates: got nothing"):
        check_parameters(lacking)


def test_every_fault_is_named_at_once(base: dict[str, Any]) -> None:
    twice_wrong = _changed(_changed(base, "training.lr", 0), "features.strid", 1)
    with pytest.raises(InputError) as caught:
        check_parameters(twice_wrong)
    assert "training.lr" in str(caught.value)
    assert "features.strid" in str(caught.value)


def test_no_parameter_has_a_second_home_in_code() -> None:
    """Oracle: the rule that values live in conf/ alone, so no field may have a default."""

    def defaults(model: type[Any], at: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if not field.is_required():
                found.append(f"{at}{name}")
            if hasattr(field.annotation, "model_fields"):
                found += defaults(field.annotation, f"{at}{name}.")
        return found

    assert defaults(Parameters, "") == []
