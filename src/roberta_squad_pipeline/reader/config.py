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
"""A number format, or the one that the device computes fast in."""


def chosen(setting: PrecisionSetting, fast: Precision) -> Precision:
    """The number format that a setting stands for on a device whose fast one is `fast`."""
    return fast if setting == "auto" else setting


AnswerabilityInput = Literal["first_token", "question"]

NO_ANSWER_THRESHOLD = 0.0
"""The recipe's: a no-answer score is a logit, and 0 is where the reader is undecided."""


class ModelConfig(StrictModel):
    """What is trained."""

    start: str | None = Field(min_length=1)
    """What training goes on from, heads included: a reader's folder, a reader in MLflow
    (`models:/…`, `runs:/…`), or transformers' question-answering checkpoint (folder or hub id).
    Null trains new heads on `encoder`."""
    encoder: str | None
    """Folder or hub id of a pre-trained encoder that `AutoModel` loads, of a family in
    `reader/families.py`. Null where there is a `start`, which brings its own; empty where conf/
    leaves it to the command."""
    dropout: float = Field(ge=0, lt=1)
    """Share of hidden values dropped, in the encoder and in the answerability head."""
    attention_dropout: float = Field(ge=0, lt=1)
    """Share of attention weights dropped."""
    answerability_input: AnswerabilityInput
    """What the answerability head looks at: the hidden state of `<s>` (`first_token`, the recipe),
    or the mean of those on the question's side of the window (`question`)."""

    @property
    def source(self) -> str:
        """Where architecture, tokenizer and pre-trained weights come from."""
        return self.start or self.encoder or ""

    @property
    def source_parameter(self) -> str:
        """The same with the parameter that says so, for messages."""
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
                expected="one of them: what is started from brings its encoder",
                remedy="Set model.encoder to null to go on from the reader, or model.start to "
                "null to train new heads.",
            )
        return self


class InferenceParameters(StrictModel):
    """How logits become answers, as conf/ says it."""

    batch_windows: int = Field(gt=0)
    """Most windows in a forward pass."""
    precision: PrecisionSetting
    max_answer_tokens: int = Field(gt=0)
    """Most tokens of an answer."""
    n_best: int = Field(gt=0)
    """Most spans kept for each question in nbest.json, no two with the same text."""
    null_score: NullScore
    """What a question's no-answer score is. `best_span`: the answerability logit of the window that
    its best span comes from (the recipe); `min_window`: the lowest of its windows; `combined`: that
    of `best_span` and the span head's own, with weights that are fitted on the dev set as the
    threshold is."""

    def unlike(self, other: "InferenceParameters", *, apart_from: Collection[str]) -> str:
        """The settings that differ from others, with both values, as text; empty where none does.

        Args:
            other: The settings that were used.
            apart_from: Settings that may differ; so may a precision that is `auto` here.
        """
        mine, theirs = self.model_dump(), other.model_dump()
        return ", ".join(
            f"{name} {theirs[name]} instead of {value}"
            for name, value in mine.items()
            if value not in (theirs[name], "auto") and name not in apart_from
        )

    def resolved(self, fast: Precision) -> "InferenceConfig":
        """The same on a device whose fast number format is `fast`."""
        settings = self.model_dump() | {"precision": chosen(self.precision, fast)}
        return InferenceConfig(**settings)


class InferenceConfig(InferenceParameters):
    """How logits become answers, as it is done and recorded."""

    precision: Precision
