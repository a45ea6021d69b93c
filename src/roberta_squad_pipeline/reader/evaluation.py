"""What an evaluation found out about a reader; it travels in the reader's folder."""

from typing import Literal

from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.calibration import Calibration
from roberta_squad_pipeline.evaluation.no_answer import NoAnswerWeights
from roberta_squad_pipeline.reader.config import InferenceConfig


class Evaluation(StrictModel):
    """Scores with what they belong to, and what makes scores of other questions readable."""

    format_version: Literal[2] = 2
    version: str
    """Of the package that scored."""
    data: str
    """Path of the SQuAD file."""
    data_sha256: str
    questions: int
    inference: InferenceConfig
    """How the spans were searched and scored, the rule for the no-answer score included."""
    scores: dict[str, float | int]
    """The official scorer's report: at threshold 0, and at the best threshold of this data."""
    selected_on_data: bool = False
    """Whether scores on this very data decided which update was the last or kept, so that all of
    these are optimistic."""
    cross_fitted_f1: float | None
    """At thresholds that were chosen on other passages, in per cent; None where there are too few
    passages."""
    no_answer_weights: NoAnswerWeights
    """What makes one no-answer score of the reader's two logits."""
    calibration: Calibration
