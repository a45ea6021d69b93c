"""What counts how much in a window's loss."""

from roberta_squad_pipeline.training.config import LossSettings

SERIES = LossSettings(answerability_weight=0.5, no_answer_span_weight=1.0, plausible_weight=0.0)
"""As in the published series."""
