"""Settings of the reader and of its predictions."""

from typing import Literal

from pydantic import Field

from roberta_squad_pipeline.squad.no_answer import NullScore
from roberta_squad_pipeline.strict import StrictModel

Precision = Literal["fp32", "bf16", "fp16"]
"""Number format of forward and backward passes; weights stay 32-bit in each."""


class ModelConfig(StrictModel):
    """What is trained."""

    encoder: str = Field(min_length=1)
    """Folder or hub id of a pre-trained encoder that `AutoModel` loads, of a family in
    `reader/families.py`."""
    dropout: float = Field(ge=0, lt=1)
    """Share of hidden values dropped, in the encoder and in the answerability head."""
    attention_dropout: float = Field(ge=0, lt=1)
    """Share of attention weights dropped."""


class InferenceConfig(StrictModel):
    """How logits become answers."""

    batch_windows: int = Field(gt=0)
    """Windows in a forward pass at most."""
    precision: Precision
    max_answer_tokens: int = Field(gt=0)
    """Tokens of an answer at most."""
    n_best: int = Field(gt=0)
    """Spans kept for each question in nbest.json."""
    null_score: NullScore
    """What a question's no-answer score is. `best_span`: the answerability logit of the window that
    its best span comes from (the recipe); `min_window`: the lowest of its windows; `combined`: that
    of `best_span` and the span head's own, with weights that are fitted on the dev set as the
    threshold is."""
