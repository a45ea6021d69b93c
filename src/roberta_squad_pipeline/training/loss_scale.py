"""The recipe's loss scale for fp16, built on torch's scaler."""

import torch
from torch import Tensor

from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.training.config import LossScaleConfig


class LossScaleState(StrictModel):
    """The state of a loss scale."""

    scale: float
    growth_tracker: int
    """Updates since the scale last changed."""
    skips_at_minimum: int
    """Number of attempts in a row that overflowed at the smallest scale."""
    skipped: int
    """Number of all attempts that overflowed."""


class LossScaler:
    """Scales losses, skips updates that overflow, and detects that training has diverged.

    torch's scaler doubles and halves the scale. It has no minimum at which training ends; this
    class adds one.

    Args:
        config: The recipe's numbers.
        enabled: If False, nothing is scaled or skipped.
        device: The device of the losses.
    """

    def __init__(self, config: LossScaleConfig, *, enabled: bool, device: torch.device) -> None:
        self._config = config
        self._scaler = torch.amp.GradScaler(
            device.type,
            init_scale=config.initial,
            growth_factor=2.0,
            backoff_factor=0.5,
            growth_interval=config.growth_updates,
            enabled=enabled,
        )
        self.scale = self._scaler.get_scale()
        """Factor of the next loss, as known since the last `settle`."""
        # It makes its tensors with the first that it scales.
        self._scaler.scale(torch.zeros((), device=device))
        self._skips_at_minimum = 0
        self.skipped = 0
        """Number of attempts that had overflowed by the last `settle`."""

    @property
    def state(self) -> LossScaleState:
        """The state for a checkpoint."""
        scaler = self._scaler.state_dict()
        return LossScaleState(
            scale=scaler.get("scale", 1.0),
            growth_tracker=scaler.get("_growth_tracker", 0),
            skips_at_minimum=self._skips_at_minimum,
            skipped=self.skipped,
        )

    @state.setter
    def state(self, state: LossScaleState) -> None:
        self._skips_at_minimum, self.skipped = state.skips_at_minimum, state.skipped
        if self._scaler.is_enabled():
            kept = {"scale": state.scale, "_growth_tracker": state.growth_tracker}
            self._scaler.load_state_dict(self._scaler.state_dict() | kept)
            self.scale = state.scale

    def begin_again(self) -> None:
        """Discards an unfinished update: torch's scaler unscales gradients once per update."""
        self._scaler.update(self.scale)

    def backward(self, loss: Tensor) -> None:
        """Adds the scaled loss's gradients.

        Args:
            loss: Shape: ()
        """
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the gradients by the scale, before they are clipped."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Makes the update unless it overflowed, and adapts the scale; call `settle` next."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def settle(self) -> bool:
        """Waits for the device, and returns whether the update overflowed and was skipped."""
        before, self.scale = self.scale, self._scaler.get_scale()
        overflowed = self.scale < before
        self.skipped += overflowed
        self._skips_at_minimum = (
            self._skips_at_minimum + 1 if overflowed and before <= self._config.minimum else 0
        )
        if self.scale < self._config.minimum:
            self.scale = self._config.minimum
            self._scaler.update(self.scale)
        return overflowed

    @property
    def diverged(self) -> bool:
        """Whether too many attempts in a row overflowed at the smallest scale."""
        return self._skips_at_minimum >= self._config.skips_at_minimum
