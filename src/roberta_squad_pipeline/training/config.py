"""Settings of a training run."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.reader.config import Precision
from roberta_squad_pipeline.strict import StrictModel

AveragingFactor = Annotated[float, Field(ge=0, lt=1)]


class LossScaleConfig(StrictModel):
    """How fp16 keeps small gradients from vanishing; other precisions need no scale."""

    initial: float = Field(gt=0)
    growth_updates: int = Field(gt=0)
    """The scale doubles after so many updates without overflow; at an overflow it is halved."""
    minimum: float = Field(gt=0)
    """The scale never falls below this."""
    skips_at_minimum: int = Field(gt=0)
    """Training stops after so many updates in a row that overflow at the minimum."""


class TrainingConfig(StrictModel):
    """How a reader is trained."""

    updates: int = Field(gt=0)
    """Optimiser updates of the whole run."""
    warmup_updates: int = Field(ge=0)
    """Updates over which learning rates rise linearly from 0 to their peak."""
    batch_size: int = Field(gt=0)
    """Windows per update, all processes and micro-batches together."""
    micro_batch: int = Field(gt=0)
    """Windows in one forward and backward pass of a process at most; changes memory and speed,
    not results."""
    lr: float = Field(gt=0)
    """Peak learning rate of the heads."""
    layer_decay: float = Field(gt=0, le=1)
    """Factor from one layer's learning rate to that of the layer below it; 1 switches it off."""
    decay_power: float = Field(gt=0)
    """Learning rates fall from the peak to 0 at the last update with this power of what is left."""
    betas: tuple[AveragingFactor, AveragingFactor]
    """Adam's averaging factors of the gradient and of its square."""
    eps: float = Field(gt=0)
    """Adam's term in the denominator."""
    weight_decay: float = Field(ge=0)
    """Decoupled decay per update, times the learning rate; biases and LayerNorm have none."""
    plausible_weight: float = Field(ge=0)
    """Weight of the loss at plausible answers to unanswerable questions, where a file has them; see
    `summed_loss`."""
    max_grad_norm: float | None = Field(gt=0)
    """Gradients of an update are scaled down to this global L2 norm; null never does."""
    precision: Precision
    loss_scale: LossScaleConfig
    """Used by fp16 alone."""
    seed: int = Field(ge=0)
    """Of the heads' first weights, the order of windows, and dropout."""
    checkpoint_every: int = Field(gt=0)
    """Updates from one checkpoint to the next, which is the most that a kill can cost."""
    resume: Literal["auto", "never"]
    """Whether an interrupted run of the same settings and data is carried on."""

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings that the result depends on."""
        return self.model_dump(mode="json", exclude={"micro_batch", "checkpoint_every", "resume"})

    @model_validator(mode="after")
    def _warmup_must_end(self) -> Self:
        if self.warmup_updates > self.updates:
            raise InputError(
                where="training.warmup_updates",
                got=f"{self.warmup_updates} updates of warm-up in a run of {self.updates}",
                expected="a warm-up that is not longer than the run",
                remedy="Lower warmup_updates (6 % of updates is usual) or raise updates.",
            )
        return self
