"""Settings of a training run."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.reader.config import Precision, PrecisionSetting

Share = Annotated[float, Field(ge=0, le=1)]
AveragingFactor = Annotated[float, Field(ge=0, lt=1)]


class LossScaleConfig(StrictModel):
    """How fp16 keeps small gradients from vanishing; other precisions need no scale."""

    initial: float = Field(gt=0)
    growth_updates: int = Field(gt=0)
    """The scale doubles after this many updates without overflow; at an overflow it is halved."""
    minimum: float = Field(gt=0)
    """The scale never falls below this."""
    skips_at_minimum: int = Field(gt=0)
    """Training stops after this many updates in a row that overflow at the minimum."""


class RateBySize(StrictModel):
    """The learning rate for encoders up to a size."""

    up_to_million_parameters: float | None = Field(gt=0)
    """Most parameters in the encoder's layers, in millions and without embeddings; null sets no
    limit."""
    lr: float = Field(gt=0)


class DistilSettings(StrictModel):
    """How much a student learns from its teacher, and how."""

    weight: Share
    """Of the teacher's part in a window's loss; the labels have the rest."""
    temperature: float = Field(gt=0)
    """Logits of both are divided by it: above 1, what the teacher holds for less likely counts
    more."""


class DistilParameters(DistilSettings):
    """Whom a reader learns from, as conf/ says it."""

    teacher: str | None = Field(min_length=1)
    """A reader's or an ensemble's folder, or a reader in MLflow (`models:/…`, `runs:/…`); null
    trains on labels alone."""
    unlabelled: str | tuple[str, ...] | None
    """Like `data.train`, but without answers: passages and questions on which only the teacher's
    part of the loss counts."""


class Distillation(DistilSettings):
    """Whom a reader learns from, by its weights."""

    teacher: str
    """A short name of these."""
    unlabelled: str | None
    """The sha256 of the unlabelled questions, if there are any."""


class LossSettings(StrictModel):
    """What counts how much in a window's loss; see `summed_loss`."""

    answerability_weight: float = Field(ge=0)
    """Of the loss of the answerability head; the published series has 0.5."""
    no_answer_span_weight: float = Field(ge=0)
    """Of the span loss of windows without an answer, whose label is ``<s>``; the published series
    has 1."""
    plausible_weight: float = Field(ge=0)
    """Of the loss at plausible answers to unanswerable questions, where a file has them; the
    published series has 0."""


class TrainingSettings(LossSettings):
    """Training settings that depend on neither data nor encoder nor device."""

    batch_size: int = Field(gt=0)
    """Windows per update, all processes and micro-batches together."""
    micro_batch: int = Field(gt=0)
    """Most windows in one forward and backward pass of a process; changes memory and speed, not
    results."""
    layer_decay: float = Field(gt=0, le=1)
    """Factor from one layer's learning rate to that of the layer below it; 1 switches it off."""
    decay_power: float = Field(gt=0)
    """Learning rates fall from the peak to 0 at the last update as this power of the share of
    updates that is left."""
    betas: tuple[AveragingFactor, AveragingFactor]
    """Adam's averaging factors of the gradient and of its square."""
    eps: float = Field(gt=0)
    """Adam's term in the denominator."""
    weight_decay: float = Field(ge=0)
    """Decoupled decay per update, times the learning rate; biases and LayerNorm have none."""
    empty_windows: Literal["keep"] | Share
    """Share of the windows without an answer that each epoch draws, among those of questions with
    several windows; `keep` draws all of them. See `Thinning`."""
    max_grad_norm: float | None = Field(gt=0)
    """Gradients of an update are scaled down to this global L2 norm; null never does."""
    loss_scale: LossScaleConfig
    """Used by fp16 alone."""
    compile_layers: bool
    """Whether torch.compile joins the kernels of the encoder's layers, on a GPU; it takes its time
    before the first update."""
    seed: int = Field(ge=0)
    """Of the heads' first weights, the order of windows, and dropout."""
    checkpoint_every: int = Field(gt=0)
    """Updates from one checkpoint to the next, the most work that a kill can cost."""
    resume: Literal["auto", "never"]
    """Whether an interrupted run of the same settings and data is carried on."""
    evaluate_every: int | None = Field(gt=0)
    """Updates from one evaluation on the validation questions to the next; there is one after the
    last update, too. Null never evaluates."""
    keep: Literal["last", "best"]
    """Which weights the reader gets: those of the last update, or those of the evaluation with the
    highest mean of best F1 and F1 of answerable questions (`EvaluationRecord.criterion`)."""
    patience: int | None = Field(gt=0)
    """Training ends early after this many evaluations in a row without a new best; null never ends
    it early."""

    @property
    def selects(self) -> bool:
        """Whether scores on the validation questions decide which update is the last or kept."""
        return self.keep == "best" or self.patience is not None

    @model_validator(mode="after")
    def _selection_needs_scores(self) -> Self:
        if self.selects and self.evaluate_every is None:
            raise InputError(
                where="training.evaluate_every",
                got=f"null with training.keep={self.keep} and training.patience={self.patience}",
                expected="a number of updates, since both go by the scores of evaluations",
                remedy="Give training.evaluate_every, such as a tenth of all updates.",
            )
        return self


class TrainingParameters(TrainingSettings):
    """How a reader is trained, as conf/ says it."""

    updates: int | None = Field(gt=0)
    """Optimiser updates of the whole run; null where `epochs` is given instead."""
    epochs: float | None = Field(gt=0)
    """How often each training window that `empty_windows` leaves is drawn; null where `updates` is
    given instead."""
    warmup_updates: int | None = Field(ge=0)
    """Updates over which learning rates rise linearly from 0 to their peak; null where
    `warmup_share` is given instead."""
    warmup_share: float | None = Field(ge=0, le=1)
    """The same as a share of all updates; null where `warmup_updates` is given instead."""
    lr: float | None = Field(gt=0)
    """Peak learning rate of the heads; null takes the encoder's from `lr_by_size`."""
    lr_by_size: tuple[RateBySize, ...]
    """Learning rates by size of encoder, from small to large; the first row that fits is taken."""
    precision: PrecisionSetting

    @model_validator(mode="after")
    def _lengths_are_given_once(self) -> Self:
        _check_one_is_set("updates", self.updates, "epochs", self.epochs)
        _check_one_is_set("warmup_updates", self.warmup_updates, "warmup_share", self.warmup_share)
        if self.updates is not None and self.warmup_updates is not None:
            _check_warmup_ends(self.warmup_updates, self.updates)
        return self

    @model_validator(mode="after")
    def _every_size_has_a_rate(self) -> Self:
        limits = [row.up_to_million_parameters or float("inf") for row in self.lr_by_size]
        rising = all(lower < higher for lower, higher in pairwise(limits))
        if limits and not (rising and limits[-1] == float("inf")):
            raise InputError(
                where="training.lr_by_size",
                got=f"rows up to {', '.join(f'{limit:g}' for limit in limits)} million parameters",
                expected="rising sizes, the last one null",
                remedy="Sort the rows, and end with one for encoders of any size.",
            )
        if self.lr is None and not limits:
            raise InputError(
                where="training.lr and training.lr_by_size",
                got="neither",
                expected="a learning rate, or rates by size of encoder to choose from",
                remedy="Give one: --params training.lr=3e-5",
            )
        return self

    def for_run(self, *, windows: int, layer_parameters: int, fast: Precision) -> "TrainingConfig":
        """These settings with what they leave open in numbers.

        Args:
            windows: Windows per epoch.
            layer_parameters: How many the encoder's layers have, embeddings left out.
            fast: The device's fast number format.

        Raises:
            InputError: The warm-up is longer than the run.
        """
        updates = self.updates
        if updates is None:
            updates = ceil(_exact(self.epochs) * windows / self.batch_size)
        warmup_updates = self.warmup_updates
        if warmup_updates is None:
            warmup_updates = round(_exact(self.warmup_share) * updates)
        _check_warmup_ends(warmup_updates, updates)
        return TrainingConfig(
            **self.model_dump(include=set(TrainingSettings.model_fields)),
            updates=updates,
            warmup_updates=warmup_updates,
            lr=self.lr or _rate_for(layer_parameters, self.lr_by_size),
            precision=fast if self.precision == "auto" else self.precision,
        )


class TrainingConfig(TrainingSettings):
    """How a reader is trained, in numbers."""

    updates: int = Field(gt=0)
    """Optimiser updates of the whole run."""
    warmup_updates: int = Field(ge=0)
    """Updates over which learning rates rise linearly from 0 to their peak."""
    lr: float = Field(gt=0)
    """Peak learning rate of the heads."""
    precision: Precision
    distil: Distillation | None = None

    @property
    def resolved(self) -> dict[str, Any]:
        """The settings that `TrainingParameters` may leave open, and the teacher, if any."""
        without_teacher = set() if self.distil else {"distil"}
        return self.model_dump(
            mode="json", exclude=without_teacher.union(TrainingSettings.model_fields)
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings that the result depends on."""
        without_effect = {"micro_batch", "checkpoint_every", "resume"}
        if not self.selects:
            # Evaluating changes no weight.
            without_effect |= {"evaluate_every", "keep", "patience"}
        if self.distil is None:
            without_effect.add("distil")
        if not self.compile_layers:
            without_effect.add("compile_layers")
        return self.model_dump(mode="json", exclude=without_effect)


def _exact(given: float | None) -> Fraction:
    # As it was written: 0.1 in binary is a little more, and would make an update too many. None
    # does not come here, since one of each pair of settings is given.
    return Fraction(repr(given))


def _rate_for(layer_parameters: int, rates: Sequence[RateBySize]) -> float:
    return next(
        row.lr
        for row in rates
        if row.up_to_million_parameters is None
        or layer_parameters <= row.up_to_million_parameters * 1e6
    )


def _check_one_is_set(name: str, value: object, other: str, other_value: object) -> None:
    if (value is None) == (other_value is None):
        got = "neither" if value is None else f"{value} and {other_value}"
        raise InputError(
            where=f"training.{name} and training.{other}",
            got=got,
            expected="exactly one of the two",
            remedy="Give one of them with --params, or set the other to null.",
        )


def _check_warmup_ends(warmup_updates: int, updates: int) -> None:
    if warmup_updates > updates:
        raise InputError(
            where="training.warmup_updates",
            got=f"{warmup_updates} updates of warm-up in a run of {updates}",
            expected="a warm-up that is not longer than the run",
            remedy="Lower warmup_updates, give training.warmup_share (0.06 is usual) instead, or "
            "train longer.",
        )
