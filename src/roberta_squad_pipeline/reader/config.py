"""Settings of the reader and of its predictions."""

from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, model_validator

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.evaluation.config import NullScore

Precision = Literal["fp32", "bf16", "fp16"]
"""Number format of forward and backward passes; weights stay 32-bit in each."""

PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]
"""A number format, or the device's fast one."""


AnswerabilityInput = Literal["first_token", "question"]


class ModelConfig(StrictModel):
    """The reader to be trained."""

    start: str | None = Field(min_length=1)
    """The reader that training continues, with its heads: a reader's folder, a reader in MLflow
    (`models:/…`, `runs:/…`), or transformers' question-answering checkpoint (folder or hub id).
    Null trains new heads on `encoder`."""
    encoder: str | None
    """Folder or hub id of a pre-trained encoder that `AutoModel` loads, of a family in
    `reader/families.py`. Null if there is a `start`, which has its own encoder; empty if conf/
    leaves it to the command."""
    dropout: float = Field(ge=0, lt=1)
    """Probability that a hidden value is dropped, in the encoder and the answerability head."""
    attention_dropout: float = Field(ge=0, lt=1)
    """Probability that an attention weight is dropped."""
    answerability_input: AnswerabilityInput
    """What the answerability head reads: the hidden state of `<s>` (`first_token`, the recipe), or
    the mean over the question's side of the window (`question`)."""

    @property
    def source(self) -> str:
        """The source of architecture, tokenizer and pre-trained weights."""
        return self.start or self.encoder or ""

    @property
    def source_parameter(self) -> str:
        """The source with the name of its parameter, for messages."""
        return f"model.{'start' if self.start else 'encoder'}={self.source}"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.start is None and self.encoder is None:
            raise InputError(
                where="model.encoder",
                got="nothing, and no model.start either",
                expected="a pre-trained encoder, or a reader to go on from",
                remedy="Set one of the two.",
            )
        if self.start and self.encoder:
            raise InputError(
                where="model.encoder",
                got=f"{self.encoder}, and model.start={self.start}",
                expected="one of them: the reader to start from has its own encoder",
                remedy="Set model.encoder to null to continue the reader, or model.start to null "
                "to train new heads.",
            )
        return self


class InferenceParameters(StrictModel):
    """How logits become answers, as given in conf/."""

    batch_windows: int = Field(gt=0)
    """The most windows in a forward pass."""
    precision: PrecisionSetting
    max_answer_tokens: int = Field(gt=0)
    """The most tokens of an answer."""
    n_best: int = Field(gt=0)
    """The most spans per question in nbest.parquet, all with different texts."""
    null_score: NullScore
    """A question's no-answer score. `best_span`: the answerability logit of the window with its
    best span (the recipe); `min_window`: the lowest answerability logit of its windows; `combined`:
    the logit of `best_span` and that of the span head, with weights that are fitted on the dev set,
    as is the threshold."""

    def unlike(self, other: "InferenceParameters", *, apart_from: Collection[str]) -> str:
        """Lists the settings that differ from others, with both values; empty if none differs.

        Args:
            other: The settings that were used.
            apart_from: Settings that may differ; a precision of `auto` may differ, too.
        """
        found = []
        for name in InferenceParameters.model_fields:
            here, there = getattr(self, name), getattr(other, name)
            if name not in apart_from and here not in (there, "auto"):
                found.append(f"{name} {there} instead of {here}")
        return ", ".join(found)

    def resolved(self, fast: Precision) -> "InferenceConfig":
        """Resolves the settings on a device whose fast number format is `fast`."""
        precision = fast if self.precision == "auto" else self.precision
        return InferenceConfig(**self.model_dump() | {"precision": precision})


class InferenceConfig(InferenceParameters):
    """How logits become answers, with all settings resolved."""

    precision: Precision
