"""What may be said of an answer's tokens without tokenising it.

Oracle: the tokenizers of both families, and `plan_windows` on every place an answer can have.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.windows import AnswerTokens, WindowLayout, plan_windows
from roberta_squad_pipeline.pipelines.validate.nodes import token_limits
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.validation.tokens import TokenLimits, has_token, is_short

FORMS: list[tuple[Order, int]] = [
    ("passage_first", 1),
    ("question_first", 1),
    ("question_first", 2),
]
"""Orders and numbers of separators that windows have."""

WINDOWS = WindowConfig(order="passage_first", max_tokens=64, max_question_tokens=20, stride=16)
texts = st.text(st.characters(codec="utf-8") | st.sampled_from("ﷺ각½\u200b \x00aﬃ"), max_size=9)


@pytest.fixture(scope="module")
def limits(family_folder: Path) -> TokenLimits:
    model = ModelConfig(start=None, encoder=str(family_folder), dropout=0.0, attention_dropout=0.0)
    return token_limits(model, WINDOWS, max_answer_tokens=8)


@given(st.lists(texts, min_size=4, max_size=8), st.integers(1, 8))
@example(["ﷺ", "\u200b", "각각각", "a"], 1)
@example(["\uff21", "\U0001d400", "½", "가"], 3)
def test_short_answers_have_few_tokens(limits: TokenLimits, answers: list[str], most: int) -> None:
    lengths = limits.tokenizer().passages(answers).tokens.lengths.tolist()
    for answer, tokens in zip(answers, lengths, strict=True):
        if is_short(answer, most):
            assert 1 <= tokens <= most, answer
        if has_token(answer):
            assert tokens, answer


@given(
    st.sampled_from(FORMS),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 12),
    st.integers(1, 60),
)
def test_some_window_holds_every_harmless_answer(
    form: tuple[Order, int], question: int, stride: int, spare: int, passage: int
) -> None:
    order, separators = form
    layout = WindowLayout(order, separators)
    windows = WindowConfig(
        order=order,
        max_tokens=4 + question + stride + spare,
        max_question_tokens=question,
        stride=stride,
    )
    limits = TokenLimits(None, windows, max_answer_tokens=1000)  # type: ignore[arg-type]
    length = min(limits.harmless_tokens, passage)
    first = np.arange(passage - length + 1, dtype=np.int32)
    tokens = np.full(len(first), passage, np.int32)
    questions = np.full(len(first), question, np.int32)
    answers = AnswerTokens(np.arange(len(first), dtype=np.int32), first, first + length - 1)
    none = AnswerTokens(*np.empty((3, 0), np.int32))
    planned = plan_windows(tokens, questions, answers, none, config=windows, layout=layout)
    assert set(planned.question[planned.start > 0].tolist()) == set(range(len(first)))
