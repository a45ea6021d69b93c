"""Settings of training are checked when they are made.

Oracle: the limits that the recipe and arithmetic set.
"""

import pytest
from pydantic import ValidationError

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.training.config import LossScaleConfig, TrainingConfig


def test_warm_up_may_last_the_whole_run(recipe: TrainingConfig) -> None:
    for warmup in (0, recipe.updates):
        values = {**recipe.model_dump(), "warmup_updates": warmup}
        assert TrainingConfig(**values).warmup_updates == warmup


def test_warm_up_longer_than_the_run_is_named(recipe: TrainingConfig) -> None:
    with pytest.raises((InputError, ValidationError), match=r"warmup_updates.*21.*20.*ower warmup"):
        TrainingConfig(**{**recipe.model_dump(), "warmup_updates": 21})


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
    for name in recipe.model_dump():
        values = {key: value for key, value in recipe.model_dump().items() if key != name}
        with pytest.raises(ValidationError, match=name):
            TrainingConfig(**values)


def test_a_choice_by_scores_needs_evaluations(recipe: TrainingConfig) -> None:
    for change in ({"keep": "best"}, {"patience": 3}):
        with pytest.raises(ValidationError, match=r"training.evaluate_every: got null with"):
            TrainingConfig(**recipe.model_dump() | change)
        assert TrainingConfig(**recipe.model_dump() | change | {"evaluate_every": 5}).selects
    assert not TrainingConfig(**recipe.model_dump() | {"evaluate_every": 5}).selects
