"""What tells finished runs apart."""

from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.common.same_run import digest
from roberta_squad_pipeline.reader import device
from roberta_squad_pipeline.runs.fingerprint import (
    description,
    recipe,
    recipe_params,
)
from roberta_squad_pipeline.runs.parameters import Parameters, load_parameters
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS
from roberta_squad_pipeline.tracking.tracker import flat_params

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
    one = digest(description(parameters({}), FILES))
    other = digest(description(parameters(changes), FILES))
    assert (one == other) is same


def test_a_precision_counts_as_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a machine that is fast in another number format; a precision that is given."""

    def described(fast: str, precision: str) -> dict[str, Any]:
        monkeypatch.setattr(device, "fast_precision", lambda _: fast)
        sections = ("training", "inference")
        given = parameters({section: {"precision": precision} for section in sections})
        return description(given, FILES)

    assert described("bf16", "auto") == described("fp32", "bf16") != described("fp32", "auto")
    assert described("bf16", "fp32") == described("fp32", "fp32")


def test_data() -> None:
    usual = parameters({})
    assert description(usual, FILES) != description(usual, {"dev": {"sha256": "1"}})


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"training": {"seed": 5}}, True),
        ({"training": {"checkpoint_every": 7}}, True),
        ({"run": "other"}, True),
        ({"experiment": "bs48_lr3p5"}, False),
        ({"training": {"lr": 0.5}}, False),
        ({"model": {"encoder": "other"}}, False),
    ],
)
def test_runs_of_one_recipe_differ_in_seed_and_names_alone(
    changes: dict[str, Any], same: bool
) -> None:
    usual = recipe(description(parameters({}), FILES))
    assert (usual == recipe(description(parameters(changes), FILES))) is same
    assert usual != recipe(description(parameters({}), {"dev": {"sha256": "1"}}))


def test_the_same_settings_under_another_name_are_the_same_recipe() -> None:
    published, ablation = (
        recipe(description(parameters({"experiment": name}), FILES))
        for name in ("bs48_lr3p0", "decay_in_force")
    )
    assert published == ablation


def test_a_recipe_is_found_in_what_mlflow_has_of_a_run() -> None:
    """Oracle: the parameters that a run logs, among them some that do not count."""
    given = parameters({"training": {"precision": "auto"}})
    fast = device.fast_precision(device.available_device())
    logged = given.model_dump(mode="json", exclude={"experiments"}) | {
        "squad_files": {"dev": {"sha256": "0", "path": "dev.json"}},
        "trained_with": {"updates": 3, "precision": fast},
    }
    described = flat_params(description(given, FILES))
    rest = {name: described[name] for name in described if name.startswith(("code", "lib", "wei"))}
    assert recipe_params(flat_params(logged) | rest) == recipe_params(described)
