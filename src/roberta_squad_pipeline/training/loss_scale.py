"""The recipe's loss scale for fp16, built on torch's scaler."""

from typing import Any

import torch

from roberta_squad_pipeline.training.config import LossScaleConfig


class LossScaler(torch.amp.GradScaler):
    """Scales losses, skips updates that overflow, and detects that training has diverged.

    torch's scaler doubles and halves the scale. It has no minimum at which training ends; this
    class adds one. Call `settle` after each `update`.

    Args:
        config: The recipe's numbers.
        enabled: If False, nothing is scaled or skipped.
        device: The device of the losses.
    """

    def __init__(self, config: LossScaleConfig, *, enabled: bool, device: torch.device) -> None:
        super().__init__(
            device.type,
            init_scale=config.initial,
            growth_factor=2.0,
            backoff_factor=0.5,
            growth_interval=config.growth_updates,
            enabled=enabled,
        )
        self._config = config
        self.known_scale = self.get_scale()
        """Factor of the next loss, as known since the last `settle`."""
        # torch makes its tensors with the first that it scales.
        self.scale(torch.zeros((), device=device))
        self._skips_at_minimum = 0
        self.skipped = 0
        """Number of attempts that had overflowed by the last `settle`."""

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: torch's, if enabled, and the number of skips."""
        skips = {"skips_at_minimum": self._skips_at_minimum, "skipped": self.skipped}
        return super().state_dict() | skips

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state of a checkpoint."""
        super().load_state_dict(state_dict)
        self._skips_at_minimum = state_dict["skips_at_minimum"]
        self.skipped = state_dict["skipped"]
        self.known_scale = self.get_scale()

    def settle(self) -> bool:
        """Waits for the device, and returns whether the update overflowed and was skipped."""
        before, self.known_scale = self.known_scale, self.get_scale()
        overflowed = self.known_scale < before
        self.skipped += overflowed
        self._skips_at_minimum = (
            self._skips_at_minimum + 1 if overflowed and before <= self._config.minimum else 0
        )
        if self.known_scale < self._config.minimum:
            self.known_scale = self._config.minimum
            self.update(self.known_scale)
        return overflowed

    @property
    def diverged(self) -> bool:
        """Whether too many attempts in a row overflowed at the smallest scale."""
        return self._skips_at_minimum >= self._config.skips_at_minimum
