"""What counts how much in a window's loss."""

from roberta_squad_pipeline.training.config import LossSettings

SERIES = LossSettings(answerability_weight=0.5, plausible_weight=0.0)
"""As in the published series."""
