"""The recipe's loss scale for fp16, on torch's own scaler."""

import torch
from torch import Tensor

from roberta_squad_pipeline.errors import TrainingError
from roberta_squad_pipeline.training.config import LossScaleConfig


class LossScaler:
    """Scales losses, skips updates that overflow, and says when there is no hope.

    torch's scaler doubles and halves; the floor and the end are the recipe's and ours.

    Args:
        config: The recipe's numbers.
        enabled: Off, nothing is scaled and nothing skipped.
        device: Where the losses are.
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
        self._skips_at_minimum = 0

    @property
    def scale(self) -> float:
        """What the next loss is multiplied with."""
        return self._scaler.get_scale()

    def backward(self, loss: Tensor) -> None:
        """Adds the scaled loss's gradients."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Takes the scale out of the gradients before they are clipped."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Makes the update unless it overflowed, and adapts the scale."""
        before = self.scale
        self._scaler.step(optimizer)
        self._scaler.update()
        overflowed = self.scale < before
        self._skips_at_minimum = (
            self._skips_at_minimum + 1 if overflowed and before <= self._config.minimum else 0
        )
        if self.scale < self._config.minimum:
            self._scaler.update(self._config.minimum)

    def check(self, update: int) -> None:
        """Stops a run whose every update is skipped.

        Raises:
            TrainingError: Too many updates in a row overflowed at the smallest scale.
        """
        if self._skips_at_minimum >= self._config.skips_at_minimum:
            raise TrainingError(
                f"update {update}: the last {self._skips_at_minimum} updates overflowed fp16 at "
                f"the smallest loss scale {self._config.minimum:g}, expected at least one that "
                "does not. Lower training.lr, or run with --params training.precision=bf16 "
                "or fp32."
            )
