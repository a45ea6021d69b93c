"""Settings of training are checked when they are made.

Oracle: the limits that the recipe and arithmetic set.
"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.training.config import (
    LossScaleConfig,
    RateBySize,
    TrainingConfig,
    TrainingParameters,
)

RATES = (
    RateBySize(up_to_million_parameters=30, lr=1e-4),
    RateBySize(up_to_million_parameters=150, lr=3e-5),
    RateBySize(up_to_million_parameters=None, lr=1.5e-5),
)


def parameters(recipe: TrainingConfig, **changes: object) -> TrainingParameters:
    """The recipe as conf/ might say it, by default with a length in updates."""
    unset = {"epochs": None, "warmup_share": None, "lr_by_size": RATES}
    return TrainingParameters(**{**recipe.model_dump(exclude={"distil"}), **unset, **changes})


def in_numbers(
    given: TrainingParameters, windows: int = 100, layer_parameters: int = 10**6
) -> TrainingConfig:
    return given.for_run(windows=windows, layer_parameters=layer_parameters, fast="bf16")


def test_warm_up_may_last_the_whole_run(recipe: TrainingConfig) -> None:
    for warmup in (0, recipe.updates):
        given = parameters(recipe, warmup_updates=warmup)
        assert in_numbers(given).warmup_updates == warmup


def test_warm_up_longer_than_the_run_is_named(recipe: TrainingConfig) -> None:
    with pytest.raises((InputError, ValidationError), match=r"warmup_updates.*21.*20.*ower warmup"):
        parameters(recipe, warmup_updates=21)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("updates", 0),
        ("batch_size", 0),
        ("micro_batch", 0),
        ("lr", 0.0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.01),
        ("decay_power", 0.0),
        ("eps", 0.0),
        ("weight_decay", -0.1),
        ("max_grad_norm", 0.0),
        ("precision", "fp8"),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("betas", (-0.1, 0.98)),
        ("seed", -1),
        ("learning_rate", 1e-3),
    ],
)
def test_settings_out_of_range_are_refused(
    recipe: TrainingConfig, name: str, value: object
) -> None:
    with pytest.raises(ValidationError, match=name):
        TrainingConfig(**{**recipe.model_dump(), name: value})


@pytest.mark.parametrize("name", ["initial", "growth_updates", "minimum", "skips_at_minimum"])
def test_loss_scale_is_positive(recipe: TrainingConfig, name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        LossScaleConfig(**{**recipe.loss_scale.model_dump(), name: 0})


def test_every_setting_has_to_be_given(recipe: TrainingConfig) -> None:
    """Values live in one home, the project's configuration, with no second default here."""
    for name in recipe.model_dump(exclude={"distil"}):  # which a run without a teacher has not
        values = {key: value for key, value in recipe.model_dump().items() if key != name}
        with pytest.raises(ValidationError, match=name):
            TrainingConfig(**values)


def test_a_choice_by_scores_needs_evaluations(recipe: TrainingConfig) -> None:
    for change in ({"keep": "best"}, {"patience": 3}):
        with pytest.raises(ValidationError, match=r"training.evaluate_every: got null with"):
            TrainingConfig(**recipe.model_dump() | change)
        assert TrainingConfig(**recipe.model_dump() | change | {"evaluate_every": 5}).selects
    assert not TrainingConfig(**recipe.model_dump() | {"evaluate_every": 5}).selects


def test_settings_in_numbers_stay_as_they_are(recipe: TrainingConfig) -> None:
    assert in_numbers(parameters(recipe)) == recipe


@given(
    epochs=st.floats(0.01, 100) | st.decimals("0.01", 100, places=2).map(float),
    windows=st.integers(1, 200_000),
    batch_size=st.integers(1, 128),
    share=st.floats(0, 1) | st.decimals(0, 1, places=2).map(float),
)
def test_epochs_are_as_few_updates_as_cover_them(
    recipe: TrainingConfig, epochs: float, windows: int, batch_size: int, share: float
) -> None:
    """Oracle: fractions, of the numbers as they are written."""
    lengths = {"updates": None, "epochs": epochs, "warmup_updates": None, "warmup_share": share}
    config = in_numbers(parameters(recipe, batch_size=batch_size, **lengths), windows)
    drawn = Fraction(str(epochs)) * windows
    assert config.updates * batch_size >= drawn > (config.updates - 1) * batch_size
    assert abs(config.warmup_updates - Fraction(str(share)) * config.updates) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("epochs", "windows", "updates", "warmup"),
    [
        (3, 3548, 666, 40),  # 3 * 3,548 / 16 = 665.25; 6 % are 39.96
        (0.1, 3200, 20, 1),  # binary 0.1 * 3,200 is a little more than 320
        (0.001, 16, 1, 0),
    ],
)
def test_epochs_by_hand(
    recipe: TrainingConfig, epochs: float, windows: int, updates: int, warmup: int
) -> None:
    lengths = {"updates": None, "epochs": epochs, "warmup_updates": None, "warmup_share": 0.06}
    config = in_numbers(parameters(recipe, batch_size=16, **lengths), windows)
    assert (config.updates, config.warmup_updates) == (updates, warmup)


def test_warm_up_that_the_epochs_are_too_short_for_is_named(recipe: TrainingConfig) -> None:
    short = parameters(recipe, updates=None, epochs=0.1, warmup_updates=4)
    with pytest.raises(InputError, match=r"4 updates of warm-up in a run of 2.*warmup_share"):
        in_numbers(short)


@pytest.mark.parametrize(
    ("layer_parameters", "lr"),
    [
        (1, 1e-4),
        (30_000_000, 1e-4),
        (30_000_001, 3e-5),
        (150_000_000, 3e-5),
        (150_000_001, 1.5e-5),
        (10**12, 1.5e-5),
    ],
)
def test_the_first_rate_that_fits_the_encoder_is_taken(
    recipe: TrainingConfig, layer_parameters: int, lr: float
) -> None:
    """Oracle: the table."""
    by_size = parameters(recipe, lr=None)
    assert in_numbers(by_size, layer_parameters=layer_parameters).lr == lr
    own = parameters(recipe, lr=7e-6)
    assert in_numbers(own, layer_parameters=layer_parameters).lr == 7e-6


def test_precision_is_the_devices_only_if_left_to_it(recipe: TrainingConfig) -> None:
    assert in_numbers(parameters(recipe, precision="auto")).precision == "bf16"
    assert in_numbers(parameters(recipe, precision="fp16")).precision == "fp16"


@pytest.mark.parametrize(
    "rates", [RATES[:2], RATES[::-1], (RATES[1], *RATES), (RATES[2], RATES[2])]
)
def test_a_table_of_rates_that_leaves_a_size_open_is_named(
    recipe: TrainingConfig, rates: tuple[RateBySize, ...]
) -> None:
    with pytest.raises(ValidationError, match=r"training\.lr_by_size: got rows up to"):
        parameters(recipe, lr_by_size=rates)
