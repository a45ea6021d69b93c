"""What a validation counts in tokens.

Oracle: the features of the same questions.
"""

from pathlib import Path

import pytest

from roberta_squad_pipeline.features.build import build_features
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import FeatureCounts
from roberta_squad_pipeline.pipelines.validate.nodes import token_limits
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.squad.dataset import GoldAnswer, Passage, Question
from roberta_squad_pipeline.validation.report import Counts
from roberta_squad_pipeline.validation.tokens import InTokens

WINDOWS = WindowConfig(order="passage_first", max_tokens=32, max_question_tokens=12, stride=8)
TEXT = " ".join("abcdefghij" * 4)


def answers(*starts: int, length: int = 1) -> tuple[GoldAnswer, ...]:
    """Of words of one letter: where they start, and how many they are."""
    return tuple(GoldAnswer(TEXT[2 * n : 2 * (n + length) - 1], 2 * n) for n in starts)


PASSAGES = [
    Passage(TEXT, "", (Question("one", "which?", answers(3)), Question("none", "which?", ()))),
    Passage(
        TEXT[::-1].strip(),
        "",
        (Question("long", "which " * 20, ()),),
    ),
    Passage(
        TEXT + " k",
        "",
        (
            Question("several", "which?", answers(1, 20, 39)),
            Question("same", "which?", answers(5, 5)),
            Question("beyond", "which?", answers(0, length=40)),
        ),
    ),
]


@pytest.mark.parametrize("pieces", [1, 3])
def test_windows_are_those_of_the_features(family_folder: Path, pieces: int) -> None:
    model = ModelConfig(
        start=None,
        encoder=str(family_folder),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )
    kinds, counted = [], Counts()
    tokens = InTokens(
        token_limits(model, WINDOWS, max_answer_tokens=99),
        counted,
        lambda kind, _where, _got, question_id: kinds.append((kind, question_id)),
    )
    batch = build_features(
        PASSAGES, tokenizer=tokens.limits.tokenizer(), windows=WINDOWS, source="passages"
    )
    for number, passage in enumerate(PASSAGES, 1):
        tokens.add("", passage)
        if number % (len(PASSAGES) // pieces) == 0:
            tokens.measure()
    counts = FeatureCounts.of(batch)
    assert 0 < counts.labelled_of_several < counts.labelled < counts.windows
    assert (counted.windows, counted.labelled_windows) == (counts.windows, counts.labelled)
    assert counted.labelled_windows_of_several_answers == counts.labelled_of_several
    assert tokens.longest_question == counts.longest_question > WINDOWS.max_question_tokens
    assert kinds == [("question_cut", "long"), ("answer_beyond_windows", "beyond")]
    assert (counts.cut_questions, counts.beyond_windows) == (1, 1)
