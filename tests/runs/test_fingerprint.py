"""What tells finished runs apart."""

from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.runs.fingerprint import fingerprint
from roberta_squad_pipeline.runs.parameters import Parameters, load_parameters
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

FILES = {"dev": {"sha256": "0"}}


def parameters(changes: dict[str, Any]) -> Parameters:
    return load_parameters(
        OmegaConfigLoader("conf", env="base", runtime_params=changes, **CONFIG_LOADER_ARGS)
    )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"distributed": {"processes": 2}}, True),
        ({"training": {"checkpoint_every": 7}}, True),
        ({"training": {"resume": "never"}}, True),
        ({"run": "other"}, True),
        ({"training": {"lr": 0.5}}, False),
        ({"training": {"seed": 5}}, False),
        ({"inference": {"n_best": 3}}, False),
    ],
)
def test_settings_that_results_depend_on(changes: dict[str, Any], same: bool) -> None:
    one = fingerprint(parameters({}), FILES)
    other = fingerprint(parameters(changes), FILES)
    assert (one == other) is same


def test_data() -> None:
    usual = parameters({})
    assert fingerprint(usual, FILES) != fingerprint(usual, {"dev": {"sha256": "1"}})
