"""What `kedro tune` searches: which parameters, between which values."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, create_model, model_validator

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.training.config import TrainingParameters

if TYPE_CHECKING:
    from optuna import Trial

Value = bool | int | float | str | None


class FloatRange(StrictModel):
    """Numbers from `low` to `high`."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool
    """Whether equal factors are equally likely, instead of equal differences."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _check_rises(self.low, self.high, above_zero=self.log)
        return self

    def suggested(self, trial: "Trial", name: str) -> float:
        """A value for a trial."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value may be suggested."""
        return isinstance(value, float | int) and self.low <= value <= self.high


class IntRange(StrictModel):
    """Whole numbers from `low` to `high`."""

    kind: Literal["int"]
    low: int
    high: int

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _check_rises(self.low, self.high, above_zero=False)
        return self

    def suggested(self, trial: "Trial", name: str) -> int:
        """A value for a trial."""
        return trial.suggest_int(name, self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value may be suggested."""
        return isinstance(value, int) and self.low <= value <= self.high


class Choices(StrictModel):
    """Any of `values`."""

    kind: Literal["choices"]
    values: Annotated[tuple[Value, ...], Field(min_length=1)]

    def suggested(self, trial: "Trial", name: str) -> Value:
        """A value for a trial."""
        return trial.suggest_categorical(name, self.values)

    def holds(self, value: Any) -> bool:
        """Whether a value may be suggested."""
        return value in self.values


Range = FloatRange | IntRange | Choices


def _ranges_of(section: type[BaseModel], *, apart_from: str = "") -> Any:
    """A model with a range for each parameter of a section, null where it is not searched."""
    one = Annotated[Range, Field(discriminator="kind")] | None
    ranges: Any = {name: (one, None) for name in section.model_fields if name != apart_from}
    model = create_model(f"{section.__name__}Ranges", __base__=StrictModel, **ranges)
    return (model, model())


if TYPE_CHECKING:
    Space = StrictModel
else:
    Space = create_model(
        "Space",
        __base__=StrictModel,
        # Finalists are run with several seeds: tune.seeds.
        training=_ranges_of(TrainingParameters, apart_from="seed"),
        model=_ranges_of(ModelConfig),
        features=_ranges_of(WindowConfig),
    )


def searched(space: Space) -> dict[str, Range]:
    """The ranges by dotted name of their parameter."""
    return {
        f"{section}.{name}": one
        for section, ranges in space
        for name, one in ranges
        if one is not None
    }


def suggested(space: Space, trial: "Trial") -> dict[str, Value]:
    """A value for each parameter that is searched, by dotted name."""
    return {name: one.suggested(trial, name) for name, one in searched(space).items()}


def within(space: Space, parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Value]:
    """Of a run's own settings those that a trial might have, by dotted name.

    Args:
        space: What is searched.
        parameters: Of the run, nested.
    """
    found: dict[str, Value] = {}
    for dotted, one in searched(space).items():
        section, name = dotted.split(".")
        if one.holds(value := parameters[section][name]):
            found[dotted] = value
    return found


def nested(values: Mapping[str, Value]) -> dict[str, Any]:
    """Values by dotted name as parameters of a run."""
    params: dict[str, Any] = {}
    for dotted, value in values.items():
        section, name = dotted.split(".")
        params = merged(params, {section: {name: value}})
    return params


def _check_rises(low: float, high: float, *, above_zero: bool) -> None:
    if low < high and (low > 0 or not above_zero):
        return
    raise InputError(
        where="tune.space",
        got=f"a range from {low:g} to {high:g}",
        expected="a low below its high" + (", both above 0, since log is true" * above_zero),
        remedy="Correct its low and high.",
    )
