"""Windows, labels and max context.

Oracle: slow and obvious functions that go token by token, written here from the recipe and from
BERT's definition of max context.
"""

from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.windows import (
    AnswerTokens,
    WindowLayout,
    Windows,
    plan_windows,
)

PASSAGE_FIRST = WindowLayout("passage_first", 1)
LAYOUTS = [
    PASSAGE_FIRST,
    WindowLayout("question_first", 1),
    WindowLayout("question_first", 2),
]
RECIPE = WindowConfig(order="passage_first", max_tokens=512, max_question_tokens=128, stride=128)


@dataclass
class Asked:
    """A question in numbers."""

    passage_tokens: int
    question_tokens: int
    answers: tuple[tuple[int, int], ...] = ()
    """First and last passage token of each."""
    plausible: tuple[tuple[int, int], ...] = ()
    """The same of what only seems to answer it, at most one."""


def plan(
    questions: list[Asked], config: WindowConfig, layout: WindowLayout = PASSAGE_FIRST
) -> Windows:
    return plan_windows(
        np.array([question.passage_tokens for question in questions], np.int32),
        np.array([question.question_tokens for question in questions], np.int32),
        runs([question.answers for question in questions]),
        runs([question.plausible for question in questions]),
        config=config,
        layout=layout,
    )


def runs(spans: list[tuple[tuple[int, int], ...]]) -> AnswerTokens:
    rows = [(number, *span) for number, of_one in enumerate(spans) for span in of_one]
    question, first, last = np.array(rows, np.int32).reshape(-1, 3).T
    return AnswerTokens(question, first, last)


def slow_sequence(window: list[int], asked: Asked, layout: WindowLayout) -> list[object]:
    """A window token by token: passage tokens as their numbers."""
    question = ["q"] * asked.question_tokens
    texts = [window, question] if layout.order == "passage_first" else [question, window]
    return ["<s>", *texts[0], *["</s>"] * layout.separators, *texts[1], "</s>"]


def slow_windows(asked: Asked, config: WindowConfig, layout: WindowLayout) -> list[list[int]]:
    """The passage tokens of each window, one by one."""
    windows, first = [], 0
    while True:
        room = config.max_tokens - len(slow_sequence([], asked, layout))
        window = list(range(first, first + room))
        windows.append([token for token in window if token < asked.passage_tokens])
        if asked.passage_tokens - 1 in windows[-1]:
            return windows
        first += config.stride


def slow_label(sequence: list[object], answers: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Positions of the first answer that is in the window whole; at `<s>` if none is."""
    for first, last in answers:
        if set(range(first, last + 1)) <= set(sequence):
            return sequence.index(first), sequence.index(last)
    return 0, 0


def slow_owner(token: int, windows: list[list[int]]) -> int:
    """BERT: min(left, right context) + 0.01 · window length, the first of the best windows."""
    best, best_score = -1, Fraction(-1)
    for number, window in enumerate(windows):
        if token in window:
            left = window.index(token)
            right = len(window) - 1 - left
            score = min(left, right) + Fraction(len(window), 100)
            if score > best_score:
                best, best_score = number, score
    return best


@st.composite
def configs(draw: st.DrawFn) -> WindowConfig:
    question, room = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    return WindowConfig(
        order="question_first",  # whatever the layout: its limits are the narrower ones
        max_tokens=4 + question + room,
        max_question_tokens=question,
        stride=draw(st.integers(1, room)),
    )


@st.composite
def asked_under(draw: st.DrawFn, config: WindowConfig) -> Asked:
    passage = draw(st.integers(1, 120))
    ends = st.tuples(st.integers(0, passage - 1), st.integers(0, passage - 1))
    spans = ends.map(lambda pair: (min(pair), max(pair)))
    return Asked(
        passage,
        draw(st.integers(1, config.max_question_tokens)),
        tuple(draw(st.lists(spans, max_size=4))),
        tuple(draw(st.lists(spans, max_size=1))),
    )


cases = configs().flatmap(
    lambda config: st.tuples(st.just(config), st.lists(asked_under(config), min_size=1, max_size=4))
)


@given(cases, st.sampled_from(LAYOUTS))
@example(
    (RECIPE, [Asked(381, 128, ((380, 380),)), Asked(382, 128), Asked(900, 9, ((127, 131),))]),
    PASSAGE_FIRST,
)
@example((RECIPE, [Asked(1, 1, ((0, 0),)), Asked(700, 10, ((120, 640), (5, 6)))]), PASSAGE_FIRST)
def test_windows_labels_and_max_context_equal_the_slow_ones(
    case: tuple[WindowConfig, list[Asked]], layout: WindowLayout
) -> None:
    config, questions = case
    planned = plan(questions, config, layout)
    for number, asked in enumerate(questions):
        mine = planned.question == number
        expected = slow_windows(asked, config, layout)
        held = [
            list(range(first, first + count))
            for first, count in zip(planned.first[mine], planned.count[mine], strict=True)
        ]
        assert held == expected
        sequences = [slow_sequence(window, asked, layout) for window in expected]
        labels = list(zip(planned.start[mine], planned.end[mine], strict=True))
        assert labels == [slow_label(sequence, asked.answers) for sequence in sequences]
        plausible = zip(planned.plausible_start[mine], planned.plausible_end[mine], strict=True)
        assert list(plausible) == [slow_label(sequence, asked.plausible) for sequence in sequences]
        owned = zip(planned.context_first[mine], planned.context_last[mine], strict=True)
        owners = {
            token: window
            for window, (first, last) in enumerate(owned)
            for token in range(first, last + 1)
        }
        assert owners == {
            token: slow_owner(token, expected) for token in range(asked.passage_tokens)
        }


@given(cases, st.sampled_from(LAYOUTS))
def test_positions_are_those_of_the_texts(
    case: tuple[WindowConfig, list[Asked]], layout: WindowLayout
) -> None:
    """The first token of either text, in a window written out token by token."""
    config, questions = case
    planned = plan(questions, config, layout)
    asked_tokens = np.array([asked.question_tokens for asked in questions], np.int32)
    passage = layout.passage_position(asked_tokens[planned.question])
    question = layout.question_position(planned.count)
    for row, (of, first, count) in enumerate(
        zip(planned.question, planned.first, planned.count, strict=True)
    ):
        window = list(range(first, first + count))
        sequence = slow_sequence(window, questions[of], layout)
        assert len(sequence) == layout.special_tokens + asked_tokens[of] + count
        assert passage[row] == sequence.index(window[0])
        assert question[row] == sequence.index("q")


@given(cases)
def test_every_token_is_covered_and_owned_once(case: tuple[WindowConfig, list[Asked]]) -> None:
    """Laws, from the design: nothing is lost, nothing predicted twice, nothing too long."""
    config, questions = case
    planned = plan(questions, config)
    asked_tokens = np.array([question.question_tokens for question in questions])
    assert np.all(
        PASSAGE_FIRST.special_tokens + asked_tokens[planned.question] + planned.count
        <= config.max_tokens
    )
    assert np.all(planned.count > 0)
    assert np.all(np.diff(planned.question) >= 0)
    assert np.all(planned.context_first >= planned.first)
    assert np.all(planned.context_last < planned.first + planned.count)
    for number, asked in enumerate(questions):
        mine = planned.question == number
        owned = [
            token
            for first, last in zip(
                planned.context_first[mine], planned.context_last[mine], strict=True
            )
            for token in range(first, last + 1)
        ]
        assert owned == list(range(asked.passage_tokens))


@given(cases)
def test_an_answer_as_long_as_the_overlap_is_in_a_window_whole(
    case: tuple[WindowConfig, list[Asked]],
) -> None:
    """Law: of windows `stride` apart, one holds any run of room - stride + 1 tokens."""
    config, questions = case
    planned = plan(questions, config)
    for number, asked in enumerate(questions):
        room = config.max_tokens - PASSAGE_FIRST.special_tokens - asked.question_tokens
        if any(last - first + 1 <= room - config.stride + 1 for first, last in asked.answers):
            assert planned.start[planned.question == number].max() > 0


def test_overlapping_windows_by_hand() -> None:
    """Ten tokens in windows of six, three apart; scores worked out on paper."""
    config = WindowConfig(order="passage_first", max_tokens=12, max_question_tokens=3, stride=3)
    planned = plan([Asked(10, 3, ((4, 5),))], config)
    assert planned.first.tolist() == [0, 3, 6]
    assert planned.count.tolist() == [6, 6, 4]
    # Tokens 3 and 4 have 2.06 and 1.06 in the first window, 0.06 and 1.06 in the second; token 6
    # has 2.06 in the second, 0.04 in the third; token 7, 1.06 and 1.04; token 8, 0.06 and 1.04.
    assert planned.context_first.tolist() == [0, 5, 8]
    assert planned.context_last.tolist() == [4, 7, 9]
    assert planned.start.tolist() == [5, 2, 0]
    assert planned.end.tolist() == [6, 3, 0]


def test_a_window_that_holds_another_answer_than_the_first_is_labelled_with_it() -> None:
    """The windows of the test above, [0, 6), [3, 9) and [6, 10), by hand.

    The first question's answers: the second window holds both and takes the one that is given
    first; the last one holds neither. The second's first answer is cut off by each window.
    """
    config = WindowConfig(order="passage_first", max_tokens=12, max_question_tokens=3, stride=3)
    several = Asked(10, 3, ((3, 5), (0, 1), (8, 8)))
    cut = Asked(10, 3, ((1, 9), (7, 7), (-1, -1), (2, 2)))
    planned = plan([several, cut, Asked(10, 3)], config)
    assert planned.start.tolist() == [4, 1, 3, 3, 5, 2, 0, 0, 0]
    assert planned.end.tolist() == [6, 3, 3, 3, 5, 2, 0, 0, 0]


def test_a_last_window_that_is_ahead_by_a_hundredth() -> None:
    """The least lead there is: at token 119 the first window scores 1.20, the second 1.21."""
    config = WindowConfig(order="passage_first", max_tokens=128, max_question_tokens=5, stride=100)
    planned = plan([Asked(121, 5)], config)
    assert planned.count.tolist() == [120, 21]
    # Token 109 has 11.20 in the first and 9.21 in the second; token 110, 10.20 and 10.21.
    assert planned.context_last.tolist() == [109, 120]
    assert planned.context_first.tolist() == [0, 110]


def test_numbers_take_four_bytes_each() -> None:
    """There are eight for each window, in memory and on disk."""
    planned = plan([Asked(10, 3, ((4, 5),))], RECIPE)
    for field in fields(planned):
        assert getattr(planned, field.name).dtype == np.int32, field.name


def test_no_questions_make_no_windows() -> None:
    assert plan([], RECIPE).first.tolist() == []


def test_stride_may_not_leave_gaps() -> None:
    """512 - 3 - 128 = 381 passage tokens stand beside the longest question; one less beside a
    tokenizer's own form of a pair, which may have two separators."""
    WindowConfig(order="passage_first", max_tokens=512, max_question_tokens=128, stride=381)
    with pytest.raises(ValidationError, match=r"stride.*382.*381.*ower stride"):
        WindowConfig(order="passage_first", max_tokens=512, max_question_tokens=128, stride=382)
    with pytest.raises(ValidationError, match=r"stride.*381.*380.*4 special"):
        WindowConfig(order="question_first", max_tokens=512, max_question_tokens=128, stride=381)


@pytest.mark.parametrize(
    "wrong",
    [{"stride": 0}, {"max_question_tokens": 0}, {"strides": 1}, {"order": "answer_first"}],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WindowConfig(**{**RECIPE.model_dump(), **wrong})
