"""How passages are cut into windows."""

from typing import Self

from pydantic import Field, model_validator

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.strict import StrictModel

SPECIAL_TOKENS = 3
"""Tokens of a window that belong to neither passage nor question: ``<s>``, ``</s>``, ``</s>``."""


class WindowConfig(StrictModel):
    """How a passage is cut."""

    max_tokens: int = Field(gt=SPECIAL_TOKENS)
    """Tokens of a window at most, special tokens included."""
    max_question_tokens: int = Field(gt=0)
    """Tokens of a question at most, the literal ``Q:`` included; the rest is cut off."""
    stride: int = Field(gt=0)
    """Passage tokens between the starts of neighbouring windows of one passage."""

    @model_validator(mode="after")
    def _windows_must_touch(self) -> Self:
        room = self.max_tokens - SPECIAL_TOKENS - self.max_question_tokens
        if self.stride > room:
            raise InputError(
                where="features.stride",
                got=f"{self.stride} tokens from window to window",
                expected=f"at most the {room} passage tokens that a window keeps beside the "
                f"longest question (max_tokens {self.max_tokens} - {SPECIAL_TOKENS} special "
                f"tokens - max_question_tokens {self.max_question_tokens}), so that no token "
                "falls between two windows",
                remedy="Lower stride or max_question_tokens, or raise max_tokens.",
            )
        return self
