"""What `kedro tune` searches: which parameters, between which values."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.training.config import TrainingParameters

if TYPE_CHECKING:
    from optuna import Trial

Value = bool | int | float | str | None

_SECTIONS: dict[str, type[BaseModel]] = {
    "training": TrainingParameters,
    "model": ModelConfig,
    "features": WindowConfig,
}
_NOT_SEARCHED = {"training.seed": "tune.seeds says with how many seeds the finalists are run"}


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


def by_dotted_name(space: Any) -> Any:
    """The ranges by parameter: --params bring them nested, and conf/ with dots in their names.

    Raises:
        InputError: There is no such parameter, or it is not one that is searched.
    """
    if not isinstance(space, Mapping):
        return space
    nested: dict[str, Any] = {}
    for dotted, searched in space.items():
        for key in reversed(str(dotted).split(".")):
            searched = {key: searched}  # noqa: PLW2901
        nested = merged(nested, searched)
    ranges: dict[str, Any] = {}
    for section, names in nested.items():
        inside = names if isinstance(names, Mapping) else {}
        _check_known(section, _SECTIONS, section)
        for name, searched in inside.items():
            _check_known(name, _SECTIONS[section].model_fields, f"{section}.{name}")
            ranges[f"{section}.{name}"] = searched
    return ranges


Space = Annotated[
    dict[str, Annotated[FloatRange | IntRange | Choices, Field(discriminator="kind")] | None],
    BeforeValidator(by_dotted_name),
]
"""By the parameter's dotted name; null leaves out what conf/base searches."""


def suggested(space: Space, trial: "Trial") -> dict[str, Value]:
    """A value for each parameter that is searched, by dotted name."""
    return {name: one.suggested(trial, name) for name, one in space.items() if one is not None}


def within(space: Space, parameters: Mapping[str, Any]) -> dict[str, Value]:
    """Of a run's own settings those that a trial might have, by dotted name.

    Args:
        space: What is searched.
        parameters: Of the run, nested.
    """
    own = {name: _setting(parameters, name) for name in space}
    return {name: own[name] for name, one in space.items() if one and one.holds(own[name])}


def nested(values: Mapping[str, Value]) -> dict[str, Any]:
    """Values by dotted name as parameters of a run."""
    params: dict[str, Any] = {}
    for dotted, value in values.items():
        section, name = dotted.split(".")
        params = merged(params, {section: {name: value}})
    return params


def _setting(parameters: Mapping[str, Any], dotted: str) -> Any:
    section, name = dotted.split(".")
    return parameters[section][name]


def _check_rises(low: float, high: float, *, above_zero: bool) -> None:
    if low < high and (low > 0 or not above_zero):
        return
    raise InputError(
        where="tune.space",
        got=f"a range from {low:g} to {high:g}",
        expected="a low below its high" + (", both above 0, since log is true" * above_zero),
        remedy="Correct its low and high.",
    )


def _check_known(name: str, known: Mapping[str, Any], dotted: str) -> None:
    where = f"parameter tune.space.{dotted}"
    if dotted in _NOT_SEARCHED:
        raise InputError(
            where=where,
            got="a parameter that is not searched",
            expected="another one",
            remedy=f"Leave it out: {_NOT_SEARCHED[dotted]}.",
        )
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise InputError(
            where=where,
            got="an unknown name",
            expected=f"one of {', '.join(known)}",
            remedy=f"{hint}Name a parameter as --params does, such as training.lr.",
        )
