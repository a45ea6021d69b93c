"""The experiment table against the published series."""

import math
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.experiments import (
    ConfigLoader,
    own_experiments,
    scaled_lr,
    scaled_updates,
    sqrt_scaled,
)
from roberta_squad_pipeline.runs.parameters import Parameters, load_parameters
from roberta_squad_pipeline.runs.recording import scaled_settings
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

ENVIRONMENTS = ["base", "squad2"]

# Oracle: the published table and its command lines: updates, warm-up, batch size, peak learning
# rate, layer decay, best F1 as reported. Warm-up of batch size 64 was not published.
SERIES = {
    "bs48_lr1p5_uniform": (5430, 326, 48, 1.5e-5, 1.0, 88.297090749954),
    "bs32_lr1p5": (8144, 489, 32, 1.5e-5, 0.75, 88.56228638211618),
    "bs32_lr2p0": (8144, 489, 32, 2.0e-5, 0.75, 88.99848000856761),
    "bs32_lr2p5": (8144, 489, 32, 2.5e-5, 0.75, 89.47730538540738),
    "bs32_lr3p0": (8144, 489, 32, 3.0e-5, 0.75, 89.33994325354834),
    "bs48_lr2p5": (5430, 326, 48, 2.5e-5, 0.75, 89.22944509616022),
    "bs48_lr3p0": (5430, 326, 48, 3.0e-5, 0.75, 89.61546240072953),
    "bs48_lr3p5": (5430, 326, 48, 3.5e-5, 0.75, 89.43337341665799),
    "bs64_lr3p5": (4073, 244, 64, 3.5e-5, 0.75, 89.144),
    "bs64_lr3p5_long": (5430, 326, 64, 3.5e-5, 0.75, 89.369),
}


def _parameters(env: str, params: dict[str, Any]) -> Parameters:
    loader = OmegaConfigLoader("conf", env=env, runtime_params=params, **CONFIG_LOADER_ARGS)
    return load_parameters(loader)


@pytest.mark.parametrize("name", SERIES)
def test_published_settings_run_as_published(name: str) -> None:
    updates, warmup, batch_size, lr, layer_decay, best_f1 = SERIES[name]
    parameters = _parameters("squad2", {"experiment": name})
    training = parameters.training
    assert (training.updates, training.warmup_updates) == (updates, warmup)
    assert (training.batch_size, training.layer_decay) == (batch_size, layer_decay)
    assert training.lr == pytest.approx(lr, rel=1e-12)
    row = parameters.experiments.rows[name]
    assert row.reported["best_f1"] == pytest.approx(best_f1, abs=1e-5)
    assert batch_size % 8 == 0
    assert parameters.run == name


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_experiment_composes_in_every_environment(env: str) -> None:
    for name in _parameters(env, {}).experiments.rows:
        assert _parameters(env, {"experiment": name}).run == name


def test_on_the_embedded_data_it_is_the_same_recipe_to_scale() -> None:
    """Oracle: ratios to the best published settings, in both environments."""
    best = {env: _parameters(env, {"experiment": "bs48_lr3p0"}).training for env in ENVIRONMENTS}
    for name in SERIES:
        demo, real = (_parameters(env, {"experiment": name}).training for env in ENVIRONMENTS)
        assert (demo.batch_size, demo.layer_decay) == (real.batch_size, real.layer_decay)
        relative = demo.lr / best["base"].lr, real.lr / best["squad2"].lr
        assert relative[0] == pytest.approx(relative[1])
        ratio = demo.updates / best["base"].updates, real.updates / best["squad2"].updates
        assert ratio[0] == pytest.approx(ratio[1], rel=0.01)


def test_any_setting_can_still_be_overridden() -> None:
    given = {"lr": 1e-4, "updates": 7, "warmup_updates": 0}
    training = _parameters("squad2", {"experiment": "bs32_lr2p0", "training": given}).training
    assert (training.lr, training.updates, training.batch_size) == (1e-4, 7, 32)


def test_own_experiment_from_the_command_line() -> None:
    row = {"updates": 100, "warmup_updates": 6, "batch_size": 16}
    row |= {"lr": 1e-5, "layer_decay": 0.9, "order": "question_first", "reported": {}}
    given = {"experiment": "mine", "experiments": {"rows": {"mine": row}}}
    training = _parameters("squad2", given).training
    assert (training.updates, training.batch_size, training.layer_decay) == (100, 16, 0.9)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_unknown_name_answers_with_the_nearest(env: str) -> None:
    with pytest.raises(InputError, match=r"'bs48_lr3p1'; expected one of .*Did you mean bs48_lr3p"):
        _parameters(env, {"experiment": "bs48_lr3p1"})


def test_the_ablation_differs_in_the_decay_alone() -> None:
    on, off = (
        _parameters("squad2", {"experiment": name}).training
        for name in ("decay_in_force", "decay_off")
    )
    assert (on.layer_decay, off.layer_decay) == (0.75, 1.0)
    assert on.model_copy(update={"layer_decay": 1.0}) == off


def test_the_other_order_differs_in_the_order_alone() -> None:
    series, other = (
        _parameters("squad2", {"experiment": name}) for name in ("decay_in_force", "question_first")
    )
    assert (series.features.order, other.features.order) == ("passage_first", "question_first")
    assert series.features.model_copy(update={"order": "question_first"}) == other.features
    assert series.training == other.training


@pytest.fixture
def own_conf(tmp_path: Path) -> Path:
    """conf/ with an experiment of one's own, which is on one of the table's."""
    conf = tmp_path / "conf"
    (conf / "experiments").mkdir(parents=True)
    for part in ("base", "own"):
        (conf / part).symlink_to(Path("conf", part).absolute())
    (conf / "experiments/mine.yml").write_text(
        "experiment: bs32_lr2p0\nmodel: {dropout: 0.2}\ntraining: {lr: 1e-3, seed: 4}\n"
    )
    return conf


def test_an_experiment_in_a_file_has_any_parameters(own_conf: Path) -> None:
    """Oracle: those that it names, the row that it is on, and what the command gives before it."""

    def of(**given: Any) -> Parameters:
        loader = ConfigLoader(own_conf, "base", given, **CONFIG_LOADER_ARGS)
        assert loader["catalog"]["metrics"]["filepath"] == f"data/08_reporting/{run}/metrics.json"
        assert loader.own_experiment == "mine"
        return load_parameters(loader)

    run = "mine"
    mine, row = of(experiment="mine"), _parameters("base", {"experiment": "bs32_lr2p0"})
    assert (mine.run, mine.experiment, mine.model.dropout) == ("mine", "bs32_lr2p0", 0.2)
    changed = {"lr": 1e-3, "seed": 4}
    assert mine.training == row.training.model_copy(update=changed)
    run = "again"
    again = of(experiment="mine", run="again", training={"seed": 5})
    assert (again.run, again.training.lr, again.training.seed) == ("again", 1e-3, 5)
    assert own_experiments(own_conf.parent) == ["mine"]


def test_an_experiment_in_a_file_is_for_every_environment(own_conf: Path) -> None:
    """In that of own data, whose runs are none of the table's, too."""
    (own_conf / "experiments/mine.yml").write_text("training: {lr: 0.5}\n")
    parameters = load_parameters(
        ConfigLoader(own_conf, "own", {"experiment": "mine"}, **CONFIG_LOADER_ARGS)
    )
    assert (parameters.run, parameters.experiment, parameters.training.lr) == ("mine", None, 0.5)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("training: {lrr: 1}", r"training\.lrr: got an unknown name.*Did you mean training\.lr\?"),
        ("- training", r"mine\.yml: got a list"),
    ],
)
def test_what_an_experiment_in_a_file_may_not_say(own_conf: Path, written: str, said: str) -> None:
    (own_conf / "experiments/mine.yml").write_text(written)
    with pytest.raises(InputError, match=said):
        load_parameters(
            ConfigLoader(own_conf, "base", {"experiment": "mine"}, **CONFIG_LOADER_ARGS)
        )


def test_scaling() -> None:
    """Oracle: by hand; from batch 32 to 48 the series went from 2.5e-5 to about 3e-5."""
    assert sqrt_scaled(3e-5, 48, 48) == 3e-5
    assert sqrt_scaled(2.5e-5, 32, 48) == pytest.approx(2.5e-5 * math.sqrt(1.5))
    assert sqrt_scaled(2.5e-5, 32, 48) == pytest.approx(3e-5, rel=0.03)
    assert scaled_updates(5430, 0.0319) == 173
    assert scaled_updates(0, 0.5) == 0
    assert scaled_updates(1, 0.1) == 1
    assert scaled_lr(3e-5, 2) == 6e-5
    # As a product of floats it is 0.0005993999999999999.
    assert scaled_lr(1.8e-5, 33.3) == 0.0005994


def test_what_the_scale_made_of_an_experiment_is_said() -> None:
    """Oracle: products by hand; what was given is not scaled."""
    parameters = _parameters("base", {"experiment": "bs48_lr3p0", "training": {"lr": 2e-3}})
    assert scaled_settings(parameters) == [
        "updates 5430 \u00d7 0.0319 = 173",
        "warmup_updates 326 \u00d7 0.0319 = 10",
    ]
    assert scaled_settings(_parameters("squad2", {"experiment": "bs48_lr3p0"})) == []


def test_lr_may_follow_the_batch_size_in_conf(tmp_path: Path) -> None:
    """Oracle: sqrt(32 / 48) by hand."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/parameters.yml").write_text(
        "row: {batch_size: 32, lr: '${sqrt_scaled:3.0e-5,48,${.batch_size}}'}"
    )
    loader = OmegaConfigLoader(str(tmp_path), env="base", **CONFIG_LOADER_ARGS)
    assert loader["parameters"]["row"]["lr"] == pytest.approx(3e-5 * math.sqrt(2 / 3))
