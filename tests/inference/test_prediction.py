"""A reader's predictions for whole files.

Oracle: every window by itself through the same reader, every span of it tried one by one.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import (
    Candidate,
    Prediction,
    WindowSpans,
    add_spans,
    merge_readers,
    merge_windows,
    predict,
)
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.squad.dataset import Passage, Question, SquadDataset

pytestmark = pytest.mark.usefixtures("one_thread")
Build = Callable[[SquadDataset, Path, WindowConfig], Features]
CPU = torch.device("cpu")
CONFIG = InferenceConfig(
    batch_windows=4, precision="fp32", max_answer_tokens=6, n_best=5, null_score="best_span"
)


def answered(
    reader: ReaderModel, features: Features, config: InferenceConfig = CONFIG, **changes: object
) -> list[Prediction]:
    config = InferenceConfig(**{**config.model_dump(), **changes})
    return list(predict(reader, features, config, device=CPU, on_windows=lambda _: None))


def slow_candidates(
    reader: ReaderModel, features: Features, question: int, max_answer_tokens: int
) -> tuple[dict[tuple[int, int], tuple[float, int]], dict[int, float]]:
    """Score and window of every allowed span, by its passage tokens; no-answer logit by window."""
    windows = features.windows
    spans, no_answer = {}, {}
    for index in np.flatnonzero(windows.question == question):
        with torch.no_grad():
            output = reader.eval()(assemble(features, np.array([index])))
        start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        no_answer[int(index)] = output.no_answer_logits.item()
        beyond = windows.first[index] + windows.count[index]
        passage = features.question_passage[question]
        empty = features.passages.char_start[passage] == features.passages.char_end[passage]
        for first in range(windows.context_first[index], windows.context_last[index] + 1):
            for last in range(first, min(first + max_answer_tokens, beyond)):
                if empty[first] or empty[last]:
                    continue
                offset = passage_position(features, question) - windows.first[index]
                score = start[first + offset] + end[last + offset]
                spans[first, last] = score, int(index)
    return spans, no_answer


def passage_position(features: Features, question: int) -> int:
    """After `<s>`, and after the question and its separators if that comes first."""
    if features.meta.windows.order == "passage_first":
        return 1
    separators = features.meta.tokenizer.special_tokens.pair_separators
    return 1 + len(features.question_tokens[question]) + separators


@pytest.mark.parametrize("order", ["passage_first", "question_first"])
def test_candidates_equal_a_direct_computation(
    build: Build,
    tiny_reader: ReaderModel,
    tiny_squad: SquadDataset,
    encoder_folder: Path,
    window_config: WindowConfig,
    order: Order,
) -> None:
    """The long passage has several windows."""
    windows = window_config.model_copy(update={"order": order})
    tiny_features = build(tiny_squad, encoder_folder, windows)
    assert np.bincount(tiny_features.windows.question).max() > 2
    starts, ends = tiny_features.passages.char_start, tiny_features.passages.char_end
    for row, prediction in enumerate(answered(tiny_reader, tiny_features)):
        spans, _ = slow_candidates(tiny_reader, tiny_features, row, 6)
        passage = tiny_features.question_passage[row]
        text = tiny_features.passage_texts[int(passage)].as_py()
        best: dict[str, tuple[float, int, int]] = {}
        for (first, last), (score, _) in sorted(spans.items(), key=lambda one: -one[1][0]):
            place = int(starts[passage][first]), int(ends[passage][last])
            best.setdefault(text[slice(*place)], (score, *place))
        expected = list(best.values())[:5]
        found = prediction.candidates
        assert [c.score for c in found] == pytest.approx([one[0] for one in expected], abs=1e-5)
        assert [(c.char_start, c.char_end) for c in found] == [one[1:] for one in expected]


def test_each_rule_for_the_no_answer_score(
    tiny_reader: ReaderModel, tiny_features: Features
) -> None:
    """The best span's window, or the lowest of all.

    With the sign of the logits turned the lowest window is another one, so that the two rules
    cannot agree both times.
    """
    differ = 0
    for sign in (1, -1):
        with torch.no_grad():
            tiny_reader.answerability_head[3].weight.mul_(sign)
        by_span = answered(tiny_reader, tiny_features, null_score="best_span")
        by_window = answered(tiny_reader, tiny_features, null_score="min_window")
        for row, (one, other) in enumerate(zip(by_span, by_window, strict=True)):
            spans, no_answer = slow_candidates(tiny_reader, tiny_features, row, 6)
            _, window = max(spans.values())
            assert one.no_answer_logit == pytest.approx(no_answer[window], abs=1e-5)
            assert other.no_answer_logit == pytest.approx(min(no_answer.values()), abs=1e-5)
            assert one.candidates == other.candidates
            differ += other.no_answer_logit < one.no_answer_logit - 0.01
    assert differ


def test_the_span_head_s_no_answer_logit(tiny_reader: ReaderModel, tiny_features: Features) -> None:
    """Logits at `<s>` less those of the best span, in the window that it comes from."""
    indices = np.arange(len(tiny_features.windows.question))
    with torch.no_grad():
        start, end, _ = tiny_reader.eval()(assemble(tiny_features, indices))
    at_first = (start[:, 0] + end[:, 0]).tolist()
    for row, one in enumerate(answered(tiny_reader, tiny_features)):
        spans, _ = slow_candidates(tiny_reader, tiny_features, row, 6)
        score, window = max(spans.values())
        assert one.span_no_answer_logit == pytest.approx(at_first[window] - score, abs=1e-5)


def test_predictions_come_in_the_order_of_the_questions(
    tiny_reader: ReaderModel, tiny_features: Features
) -> None:
    ids = [prediction.question_id for prediction in answered(tiny_reader, tiny_features)]
    assert ids == tiny_features.question_ids.to_pylist()


@pytest.mark.parametrize("batch_windows", [1, 3, 1000])
def test_batch_size_changes_nothing(
    tiny_reader: ReaderModel, tiny_features: Features, batch_windows: int
) -> None:
    """Scores to 1e-5, the noise of float32 sums in another order; texts exactly."""
    usual = answered(tiny_reader, tiny_features)
    other = answered(tiny_reader, tiny_features, batch_windows=batch_windows)
    for one, two in zip(usual, other, strict=True):
        assert [c.text for c in one.candidates] == [c.text for c in two.candidates]
        scores = [[c.score for c in each.candidates] for each in (one, two)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
        assert one.no_answer_logit == pytest.approx(two.no_answer_logit, abs=1e-5)


def test_candidates_are_parts_of_the_passage(
    tiny_reader: ReaderModel, tiny_features: Features
) -> None:
    texts = tiny_features.passage_texts.to_pylist()
    predictions = answered(tiny_reader, tiny_features, n_best=20)
    for passage, prediction in zip(tiny_features.question_passage, predictions, strict=True):
        assert prediction.candidates
        for candidate in prediction.candidates:
            assert candidate.text == texts[passage][candidate.char_start : candidate.char_end]
        scores = [candidate.score for candidate in prediction.candidates]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (";," * 6, {";", ",", ";,", ",;", ";,;", ",;,"}),
        # Byte-level BPE makes three tokens of each character.
        ("東京" * 6, {"東", "京", "東京", "京東"}),
    ],
)
def test_no_text_is_offered_twice(
    tiny_reader: ReaderModel,
    build: Build,
    encoder_folder: Path,
    text: str,
    texts: set[str],
) -> None:
    """Many spans of few texts, in windows that overlap.

    Oracle: with room for every span each text has its best one; with less, these are the first.
    """
    squad = SquadDataset((Passage(text, "", (Question("q", "?", ()),)),))
    limits = WindowConfig(order="passage_first", max_tokens=14, max_question_tokens=6, stride=2)
    features = build(squad, encoder_folder, limits)
    assert len(features.windows.question) > 2
    spans, _ = slow_candidates(tiny_reader, features, 0, 3)
    passage = features.passages
    best: dict[str, float] = {}
    for (first, last), (score, _) in spans.items():
        one = text[passage.char_start[0][first] : passage.char_end[0][last]]
        best[one] = max(score, best.get(one, score))
    assert best.keys() >= texts
    (prediction,) = answered(tiny_reader, features, max_answer_tokens=3, n_best=100)
    found = {one.text: one.score for one in prediction.candidates}
    assert found == pytest.approx(best, abs=1e-5)
    (fewer,) = answered(tiny_reader, features, max_answer_tokens=3, n_best=3)
    assert [one.text for one in fewer.candidates] == list(found)[:3]


def test_one_token_has_one_candidate(
    tiny_reader: ReaderModel, build: Build, encoder_folder: Path
) -> None:
    squad = SquadDataset((Passage("a", "", (Question("q", "?", ()),)),))
    limits = WindowConfig(order="passage_first", max_tokens=64, max_question_tokens=20, stride=16)
    (prediction,) = answered(tiny_reader, build(squad, encoder_folder, limits), n_best=7)
    assert [candidate.text for candidate in prediction.candidates] == ["a"]


def test_progress_adds_up_to_all_windows(tiny_reader: ReaderModel, tiny_features: Features) -> None:
    told: list[int] = []
    list(predict(tiny_reader, tiny_features, CONFIG, device=CPU, on_windows=told.append))
    assert sum(told) == len(tiny_features.windows.question)
    assert max(told) == CONFIG.batch_windows


def test_dropout_is_off(tiny_reader: ReaderModel, tiny_features: Features) -> None:
    tiny_reader.answerability_head[2].p = 0.5
    tiny_reader.train()
    assert answered(tiny_reader, tiny_features) == answered(tiny_reader.train(), tiny_features)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(
    tiny_reader: ReaderModel, tiny_features: Features, precision: str
) -> None:
    """bf16 keeps 8 bits of a number, so logits near 10 differ by a few tenths at most."""
    exact = answered(tiny_reader, tiny_features)
    half = answered(tiny_reader, tiny_features, precision=precision)
    assert [p.no_answer_logit for p in half] == pytest.approx(
        [p.no_answer_logit for p in exact], abs=0.3
    )
    assert [p.candidates[0].score for p in half] == pytest.approx(
        [p.candidates[0].score for p in exact], abs=0.5
    )
    assert half != exact


def test_no_prediction_is_empty(
    tiny_reader: ReaderModel, build: Build, encoder_folder: Path
) -> None:
    """Oracle: byte-level BPE makes a token without characters of a space before another."""
    passage = "  a     b " + " " * 40 + "c"
    dataset = SquadDataset((Passage(passage, "", (Question("q", "What?", ()),)),))
    limits = WindowConfig(order="passage_first", max_tokens=16, max_question_tokens=6, stride=4)
    features = build(dataset, encoder_folder, limits)
    [prediction] = answered(tiny_reader, features, n_best=50)
    assert prediction.candidates
    assert all(c.text == c.text.strip() != "" for c in prediction.candidates)


@pytest.mark.parametrize("broken", ["span_head.bias", "answerability_head.3.bias"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_said(
    tiny_reader: ReaderModel, tiny_features: Features, broken: str, value: float
) -> None:
    """Oracle: the first question's id."""
    with torch.no_grad():
        tiny_reader.get_parameter(broken).fill_(value)
    first = tiny_features.question_ids[0].as_py()
    with pytest.raises(InputError, match=rf"question {first}: got logits that are infinite or not"):
        answered(tiny_reader, tiny_features)


@pytest.mark.parametrize("which", ["start_logits", "end_logits"])
def test_one_logit_that_is_no_number_is_said(
    tiny_reader: ReaderModel, tiny_features: Features, which: str
) -> None:
    """A single one, of a token that may begin and end an answer."""
    windows, everything = tiny_features.windows, np.arange(len(tiny_features.windows.question))
    found = WindowSpans.none(len(everything), CONFIG.n_best)
    with torch.no_grad():
        output = tiny_reader.eval()(assemble(tiny_features, everything))
    last, row = everything[-1], int(windows.question[-1])
    offset = passage_position(tiny_features, row) - windows.first[last]
    getattr(output, which)[last, windows.context_first[last] + offset] = -torch.inf
    add_spans(found, output.arrays(), tiny_features, everything, CONFIG)
    question = tiny_features.question_ids[row].as_py()
    with pytest.raises(InputError, match=f"question {question}: got logits"):
        list(merge_windows(found, tiny_features, CONFIG))


def _made_up(
    spans: dict[tuple[int, int, str], float], none: float, no_answer: float, level: float
) -> Prediction:
    """Of probabilities; `level` is what is added to all logits."""
    candidates = tuple(
        Candidate(text, start, end, math.log(share) + level)
        for (start, end, text), share in spans.items()
    )
    span_no_answer = math.log(none) + level - candidates[0].score
    return Prediction("q", no_answer, span_no_answer, candidates)


def test_readers_of_other_tokens_are_put_together_by_characters() -> None:
    """Oracle: means of probabilities by hand; the second "here" is no candidate of its own."""
    one = _made_up({(0, 4, "here"): 0.6, (5, 9, "Bonn"): 0.2}, 0.2, 1.0, level=0.0)
    other = _made_up(
        {(5, 9, "Bonn"): 0.5, (20, 24, "here"): 0.2, (11, 13, "up"): 0.1}, 0.2, 4.0, level=7.0
    )
    [merged] = merge_readers([[one], [other]])
    texts, starts, ends, scores = zip(*merged.candidates, strict=True)
    assert texts == ("Bonn", "here", "up")
    assert (starts, ends) == ((5, 0, 11), (9, 4, 13))
    assert np.exp(scores) == pytest.approx([0.35, 0.3, 0.05])
    assert math.exp(merged.span_no_answer_logit) == pytest.approx(0.2 / 0.35)
    assert (merged.question_id, merged.no_answer_logit) == ("q", 2.5)
    assert list(merge_readers([[one]])) == [one]
