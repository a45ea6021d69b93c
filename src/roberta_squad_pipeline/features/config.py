"""How passages are cut into windows."""

from typing import Literal, Self

from pydantic import Field, model_validator

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel

Order = Literal["question_first", "passage_first"]
"""The text that a window begins with; `features.windows` shows both forms."""

_MOST_SPECIAL_TOKENS: dict[Order, int] = {"question_first": 4, "passage_first": 3}


class WindowConfig(StrictModel):
    """How a passage is cut into windows."""

    order: Order
    """The text that a window begins with."""
    max_tokens: int = Field(gt=0)
    """The most tokens in a window, including special tokens."""
    max_question_tokens: int = Field(gt=0)
    """The most tokens of a question, including the literal ``Q:`` of `passage_first`; the rest is
    cut off."""
    stride: int = Field(gt=0)
    """Passage tokens from the start of one window of a passage to the start of the next."""

    def settings_for(self, question_tokens: int) -> str:
        """The --params with which a question of so many tokens is not cut."""
        needed = question_tokens + _MOST_SPECIAL_TOKENS[self.order] + self.stride
        room = f",features.max_tokens={needed}" if needed > self.max_tokens else ""
        return f"features.max_question_tokens={question_tokens}{room}"

    @model_validator(mode="after")
    def _windows_must_touch(self) -> Self:
        special = _MOST_SPECIAL_TOKENS[self.order]
        room = self.max_tokens - special - self.max_question_tokens
        if self.stride > room:
            raise InputError(
                where="features.stride",
                got=f"{self.stride} tokens from window to window",
                expected=f"at most the {room} passage tokens that fit into a window beside the "
                f"longest question (max_tokens {self.max_tokens} - {special} special tokens - "
                f"max_question_tokens {self.max_question_tokens}), so that no token falls between "
                "two windows",
                remedy="Lower stride or max_question_tokens, or raise max_tokens.",
            )
        return self
