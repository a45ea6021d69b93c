"""Oracle: by hand, what conf/ and the command say and what a trial may have of it."""

from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.parameters import Parameters, load_parameters
from roberta_squad_pipeline.runs.search_space import nested, searched, within
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS


def parameters(space: dict[str, Any], env: str = "base") -> Parameters:
    given = {"tune": {"space": space}}
    loader = OmegaConfigLoader("conf", env=env, runtime_params=given, **CONFIG_LOADER_ARGS)
    return load_parameters(loader)


def test_the_command_changes_single_values_of_what_conf_searches() -> None:
    changed = {"training": {"lr": {"low": 1e-3}, "layer_decay": None}, "features": {"stride": None}}
    ranges = searched(parameters(changed).tune.space)
    assert set(ranges) == {"training.lr", "model.dropout"}
    assert ranges["training.lr"].model_dump() == {
        "kind": "float",
        "low": 1e-3,
        "high": 3e-3,
        "log": True,
    }


@pytest.mark.parametrize("env", ["base", "own", "squad2"])
def test_every_environment_searches_the_learning_rate(env: str) -> None:
    assert "training.lr" in searched(parameters({}, env).tune.space)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"training": {"lrr": None}}, "parameter tune.space.training.lrr: got an unknown name"),
        ({"training": {"lrr": None}}, "Did you mean tune.space.training.lr?"),
        ({"trainig": {"lr": None}}, "expected one of training, model, features. Did you mean"),
        ({"lr": {"low": 1}}, "parameter tune.space.lr: got an unknown name"),
        ({"training": {"seed": None}}, "parameter tune.space.training.seed: got an unknown name"),
        ({"training": {"lr": {"low": 1}}}, "got a range from 1 to 0.003; expected a low below"),
        ({"training": {"lr": {"low": 0}}}, "both above 0, since log is true"),
        ({"training": {"lr": {"step": 1}}}, "tune.space.training.lr.step: got an unknown name"),
        ({"training": {"lr": {"kind": "normal"}}}, "tune.space.training.lr.kind: got normal"),
        ({"model": {"dropout": {"kind": "choices", "values": []}}}, "tune.space.model.dropout"),
    ],
)
def test_a_range_that_cannot_be_searched_is_named(space: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        parameters(space)
    assert said in str(caught.value)


def test_what_of_the_own_settings_lies_within() -> None:
    """Oracle: of the demo's settings, batch size 8, decay 0.85, no dropout, no limit of norms."""
    searched = {
        "training": {
            "batch_size": {"kind": "choices", "values": [16, 32]},
            "max_grad_norm": {"kind": "choices", "values": [None, 1.0]},
            "checkpoint_every": {"kind": "int", "low": 100, "high": 200},
            "lr": None,
        }
    }
    given = parameters(searched)
    assert within(given.tune.space, given.model_dump(mode="json")) == {
        "training.layer_decay": 0.85,
        "model.dropout": 0.0,
        "training.max_grad_norm": None,
        "training.checkpoint_every": 150,
    }


def test_values_become_parameters_of_a_run() -> None:
    values = {"training.lr": 1e-4, "model.dropout": 0.1, "training.batch_size": 8}
    assert nested(values) == {
        "training": {"lr": 1e-4, "batch_size": 8},
        "model": {"dropout": 0.1},
    }
