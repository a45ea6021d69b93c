"""Named experiments: a table, files beside it, and the resolvers by which conf/ refers to it."""

import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.config import NullScore
from roberta_squad_pipeline.features.config import Order
from roberta_squad_pipeline.reader.config import AnswerabilityInput


class Experiment(StrictModel):
    """One row of the table: its settings, and the scores reported for it."""

    updates: int = Field(gt=0)
    """Optimiser updates on SQuAD 2.0."""
    warmup_updates: int = Field(ge=0)
    """The number of these during which the learning rate rises."""
    batch_size: int = Field(gt=0)
    """Windows per update."""
    lr: float = Field(gt=0)
    """Peak learning rate of the heads, for RoBERTa large."""
    layer_decay: float = Field(gt=0, le=1)
    """Factor from one layer's learning rate to that of the layer below it; 1 switches it off."""
    order: Order
    """Which of the two texts a window begins with."""
    reported: dict[str, float]
    """Metrics that were published for these settings, unrounded; empty if there are none."""


class Form(StrictModel):
    """What all rows have in common."""

    answerability_input: AnswerabilityInput
    """Which tokens the answerability head looks at."""
    answerability_weight: float
    """Weight of the answerability head's loss."""
    no_answer_span_weight: float
    """Weight of the span loss of windows without an answer."""
    null_score: NullScore
    """What the no-answer score is made of."""


class Reference(StrictModel):
    """A score that others reported, without settings here."""

    name: str
    best_f1: float
    """In per cent."""


class Scale(StrictModel):
    """Factors from experiments, which are for SQuAD 2.0 and RoBERTa large, to the runs here."""

    updates: float = Field(gt=0)
    """Factor of `updates` and `warmup_updates`."""
    lr: float = Field(gt=0)
    """Factor of `lr`."""


class Experiments(StrictModel):
    """The experiment table."""

    rows: dict[str, Experiment]
    """By name."""
    form: Form
    """What they have in common."""
    references: tuple[Reference, ...]
    """Rows below them that only have reported scores."""


OWN = Path("conf/experiments")
"""The folder of experiments that are no rows of the table: a file of parameters each."""


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader of conf/, which knows experiments in files of their own.

    Attributes:
        own_experiment: Name of the run's experiment if it is such a file.
    """

    def __init__(
        self,
        conf_source: str | Path,
        env: str | None = None,
        runtime_params: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        given = runtime_params or {}
        named = str(given.get("experiment"))
        self.own_experiment = named if _file_of(Path(conf_source), named).is_file() else None
        given = with_own_experiment(Path(conf_source), given)
        super().__init__(conf_source, env, given, **settings)


def own_experiments(project: Path) -> list[str]:
    """Names of the experiments that are files."""
    return sorted(path.stem for path in (project / OWN).glob("*.yml"))


def with_own_experiment(conf: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Puts the parameters of an experiment that is a file in the place of its name.

    Args:
        conf: The folder conf/.
        given: Parameters of the command, which take precedence over those of the file.

    Raises:
        InputError: The file holds something else.
    """
    path = _file_of(conf, str(given.get("experiment")))
    if not path.is_file():
        return given
    own = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(own, dict):
        raise InputError(
            where=str(path),
            got="a list",
            expected="parameters as conf/ has them, such as training: {lr: 0.001}",
            remedy="Write each below its section.",
        )
    named: dict[str, Any] = {"run": path.stem, **{str(name): own[name] for name in own}}
    return merged(named, {name: given[name] for name in given if name != "experiment"})


def _file_of(conf: Path, experiment: str) -> Path:
    return conf / OWN.name / f"{experiment}.yml"


def setting(name: str, *, _root_: DictConfig) -> Any:
    """`${setting:NAME}`: the setting NAME of the run's experiment; None if the run is not one.

    Raises:
        InputError: There is no experiment of that name.
    """
    experiments, chosen = _root_["experiments"]["rows"], _root_["experiment"]
    if chosen is None:
        return None
    if chosen not in experiments:
        known = [*experiments, *own_experiments(Path())]
        close = get_close_matches(str(chosen), known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise InputError(
            where="parameter experiment",
            got=repr(chosen),
            expected=f"one of {', '.join(known)}",
            remedy=f"{hint}An experiment of your own goes into {OWN}/{chosen}.yml.",
        )
    return experiments[chosen][name]


def scaled_updates(updates: int | None, factor: float) -> int | None:
    """`${scaled_updates:N,FACTOR}`: FACTOR times N updates, rounded; at least 1 unless N is 0."""
    return None if updates is None else max(min(updates, 1), round(updates * factor))


def scaled_lr(lr: float | None, factor: float) -> float | None:
    """`${scaled_lr:LR,FACTOR}`: FACTOR times LR, without the last digits' rounding error."""
    return None if lr is None else float(f"{lr * factor:.12g}")


def scaled(experiment: Experiment, scale: Scale) -> Experiment:
    """An experiment with its settings for the runs here."""
    return experiment.model_copy(
        update={
            "updates": scaled_updates(experiment.updates, scale.updates),
            "warmup_updates": scaled_updates(experiment.warmup_updates, scale.updates),
            "lr": scaled_lr(experiment.lr, scale.lr),
        }
    )


def unless(other: Any, value: Any) -> Any:
    """`${unless:OTHER,VALUE}`: VALUE, or null if OTHER is given."""
    return value if other is None else None


def sqrt_scaled(lr: float, reference_batch_size: int, batch_size: int) -> float:
    """`${sqrt_scaled:LR,REFERENCE,BATCH}`: LR for REFERENCE windows per update, scaled to BATCH.

    The learning rate grows with the square root of the batch size, as in the published series.
    """
    return lr * math.sqrt(batch_size / reference_batch_size)


def evaluation_folder(run: str, reader: str, calibrate: bool) -> str:
    """`${evaluation_folder:RUN,READER,CALIBRATE}`: where RUN's evaluation.json goes.

    It goes to the reader's own folder, from which the reader gets its threshold, unless READER
    belongs to another run and is not to be changed.
    """
    own = reader == run or calibrate
    return f"data/06_models/{reader}" if own else f"data/08_reporting/{run}"


RESOLVERS = {
    "setting": setting,
    "scaled_updates": scaled_updates,
    "scaled_lr": scaled_lr,
    "sqrt_scaled": sqrt_scaled,
    "unless": unless,
    "evaluation_folder": evaluation_folder,
}
"""For Kedro's config loader."""
