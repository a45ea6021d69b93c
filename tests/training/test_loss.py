"""The loss of a batch.

Oracle: the recipe's formula in float64 numpy, window by window, without softmax or
cross-entropy from a library; its gradient, worked out on paper.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses import SERIES
from roberta_squad_pipeline.features.windows import UNLABELLED
from roberta_squad_pipeline.reader.batching import Batch, TeacherOutput
from roberta_squad_pipeline.reader.model import ReaderOutput
from roberta_squad_pipeline.training.config import DistilSettings, LossSettings
from roberta_squad_pipeline.training.loss import summed_loss

pytestmark = pytest.mark.usefixtures("one_thread")

# A window: start logits, end logits, no-answer logit, start and end of the answer, and those of
# what only seems to be one.
Window = tuple[list[float], list[float], float, int, int, int, int]
OTHERS = LossSettings(answerability_weight=2.0, no_answer_span_weight=0.25, plausible_weight=0.75)
ANSWERED = LossSettings(answerability_weight=1.0, no_answer_span_weight=0.0, plausible_weight=0.0)
numbers = st.floats(-30, 30, width=32)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    # A window holds more than its first token.
    tokens = draw(st.integers(2, 6))
    logits = st.lists(numbers, min_size=tokens, max_size=tokens)
    start = draw(st.integers(0, tokens - 1))
    end = draw(st.integers(start, tokens - 1)) if start else 0
    plausible_start = 0 if start else draw(st.integers(0, tokens - 1))
    plausible_end = draw(st.integers(plausible_start, tokens - 1)) if plausible_start else 0
    labels = (start, end, plausible_start, plausible_end)
    return draw(logits), draw(logits), draw(numbers), *labels


def batched(drawn: list[Window]) -> tuple[ReaderOutput, Batch]:
    """Windows padded to the longest, logits minus infinity on padding."""
    longest = max(len(window[0]) for window in drawn)
    padded = [
        [logits + [-math.inf] * (longest - len(logits)) for logits in window[:2]]
        for window in drawn
    ]
    start, end = torch.tensor(padded).unbind(1)
    output = ReaderOutput(start, end, torch.tensor([window[2] for window in drawn]))
    for logits in output:
        logits.requires_grad_()
    nothing = torch.empty(0)
    labels = torch.tensor([window[3:] for window in drawn])
    return output, Batch(nothing, nothing, nothing, *labels.unbind(1))


def slow_loss(window: Window, weights: LossSettings) -> float:
    start_logits, end_logits, no_answer, start, end, plausible_start, plausible_end = window

    def cross_entropy(logits: list[float], position: int) -> float:
        return math.log(math.fsum(math.exp(x - logits[position]) for x in logits))

    unanswerable = start == 0
    # -log sigmoid(x) is log(1 + e^-x); sigmoid(logit) is the probability of "no answer".
    answerability = math.log1p(math.exp(-no_answer if unanswerable else no_answer))
    spans = cross_entropy(start_logits, start) + cross_entropy(end_logits, end)
    if unanswerable:
        spans *= weights.no_answer_span_weight
    if plausible_start:
        seeming = cross_entropy(start_logits[1:], plausible_start - 1)
        seeming += cross_entropy(end_logits[1:], plausible_end - 1)
        spans += weights.plausible_weight * seeming
    return spans / 2 + weights.answerability_weight * answerability


def slow_gradients(window: Window, weights: LossSettings) -> list[np.ndarray]:
    """(softmax - one hot) / 2 for the spans, (sigmoid - target) · w for answerability."""

    def of_span(logits: np.ndarray, position: int) -> np.ndarray:
        weights = np.exp(logits - max(logits))
        return (weights / weights.sum() - np.eye(len(logits))[position]) / 2

    gradients = []
    for logits, position, seeming in zip(window[:2], window[3:5], window[5:], strict=True):
        gradient = of_span(np.array(logits), position)
        if not position:
            gradient *= weights.no_answer_span_weight
        if seeming:
            gradient[1:] += weights.plausible_weight * of_span(np.array(logits[1:]), seeming - 1)
        gradients.append(gradient)
    sigmoid = 1 / (1 + math.exp(-window[2]))
    gradients.append(np.array((sigmoid - (window[3] == 0)) * weights.answerability_weight))
    return gradients


@given(st.lists(windows(), min_size=1, max_size=5), st.sampled_from([SERIES, OTHERS, ANSWERED]))
def test_loss_and_gradients_equal_the_formula(drawn: list[Window], weights: LossSettings) -> None:
    output, batch = batched(drawn)
    loss = summed_loss(output, batch, weights)
    assert loss.shape == ()
    expected = sum(slow_loss(window, weights) for window in drawn)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    loss.backward()
    for row, window in enumerate(drawn):
        for logits, expected in zip(output, slow_gradients(window, weights), strict=True):
            got = (
                logits.grad[row].numpy()[: len(window[0])] if logits.ndim > 1 else logits.grad[row]
            )
            np.testing.assert_allclose(got, expected, atol=1e-5)


def test_padding_gets_no_gradient() -> None:
    labels = (0, 0)
    output, batch = batched(
        [
            ([1.0, 2.0], [2.0, 3.0], 0.0, 0, 0, 1, 1),
            ([1.0, 2.0, 3.0], [3.0, 4.0, 5.0], 0.0, 1, 1, *labels),
        ]
    )
    summed_loss(output, batch, OTHERS).backward()
    assert output.start_logits.grad[0, 2] == output.end_logits.grad[0, 2] == 0


@given(
    st.lists(st.tuples(windows(), st.integers(0, 2**32 - 1)), min_size=1, max_size=4),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from([SERIES, OTHERS]),
)
def test_the_teacher_s_part_equals_the_formula(
    drawn: list[tuple[Window, int]], temperature: float, weight: float, weights: LossSettings
) -> None:
    """Oracle: divergences as sums of p log(p / q), in 64 bits."""
    distil = DistilSettings(weight=weight, temperature=temperature)
    students = [window for window, _ in drawn]
    teachers = []
    for window, seed in drawn:
        logits = np.random.default_rng(seed).normal(size=(2, len(window[0])), scale=5)
        teachers.append((*logits.tolist(), float(logits[0, 0]), 0, 0, 0, 0))
    output, batch = batched(students)
    known, _ = batched(teachers)
    labelled = summed_loss(output, batch, weights).item()
    batch = replace(batch, teacher=TeacherOutput(*(logits.detach() for logits in known)))
    loss = summed_loss(output, batch, weights, distil)

    def divergence(teacher: list[float], student: list[float]) -> float:
        p, q = (
            np.exp(np.array(x) / temperature - max(x) / temperature) for x in (teacher, student)
        )
        p, q = p / p.sum(), q / q.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(p > 0, p * np.log(p / q), 0).sum())

    taught = sum(
        (divergence(teacher[0], student[0]) + divergence(teacher[1], student[1])) / 2
        + divergence([teacher[2], 0.0], [student[2], 0.0]) * weights.answerability_weight
        for teacher, student in zip(teachers, students, strict=True)
    )
    expected = (1 - weight) * labelled + weight * temperature**2 * taught
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    loss.backward()
    assert all(logits.grad.isfinite().all() for logits in output)

    # Of an unlabelled window the teacher's part alone is left.
    *others, _ = students
    batch.start[-1] = batch.end[-1] = UNLABELLED
    batch.plausible_start[-1] = batch.plausible_end[-1] = 0
    labelled = sum(slow_loss(window, weights) for window in others)
    expected = (1 - weight) * labelled + weight * temperature**2 * taught
    unlabelled = summed_loss(output, batch, weights, distil).item()
    assert unlabelled == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_loss_by_hand() -> None:
    """Two tokens, all logits 0: each cross-entropy is log 2, and so is the third."""
    for start in (0, 1):
        output, batch = batched([([0.0, 0.0], [0.0, 0.0], 0.0, start, start, 0, 0)])
        assert summed_loss(output, batch, SERIES).item() == pytest.approx(1.5 * math.log(2))


def test_a_high_no_answer_logit_means_no_answer() -> None:
    losses = {}
    for start in (0, 1):
        output, batch = batched([([0.0, 0.0], [0.0, 0.0], 5.0, start, start, 0, 0)])
        losses[start] = summed_loss(output, batch, SERIES).item()
    assert losses[0] < losses[1]
