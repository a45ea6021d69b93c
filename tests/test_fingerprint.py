"""What tells finished runs apart."""

from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.fingerprint import fingerprint
from roberta_squad_pipeline.sweep import load_parameters

ROOT = Path(__file__).parents[1]
FILES = {"dev": {"sha256": "0"}}


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
    one = fingerprint(load_parameters(ROOT, "base", {}), FILES)
    other = fingerprint(load_parameters(ROOT, "base", changes), FILES)
    assert (one == other) is same


def test_data() -> None:
    parameters = load_parameters(ROOT, "base", {})
    assert fingerprint(parameters, FILES) != fingerprint(parameters, {"dev": {"sha256": "1"}})
