"""What is kept of a run's updates; which evaluation is the best, and when training ends early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.learning_rates import (
    build_optimizer,
    peak_learning_rates,
    set_learning_rates,
)
from roberta_squad_pipeline.training.records import (
    EvaluationRecord,
    Scores,
    UpdateRecord,
    best_evaluation,
    out_of_patience,
    still_rising,
    training_curve,
)


def _record(update: int, loss: float = 1.0) -> UpdateRecord:
    return UpdateRecord(update, loss, 1e-3, 1e-4, windows=8, loss_scale=1.0, seconds=0.1)


def test_rates_are_those_that_the_optimiser_is_given(
    tiny_reader: ReaderModel, recipe: TrainingConfig
) -> None:
    """Oracle: the optimiser's groups at every update of the run."""
    records = [_record(update) for update in range(1, recipe.updates + 1)]
    curve = training_curve(records, [], peak_learning_rates(tiny_reader, recipe), recipe)
    assert list(curve["peak_rates"]) == ["embeddings", "block 0", "block 1", "heads"]
    optimizer = build_optimizer(tiny_reader, recipe)
    for update, multiplier in zip(curve["update"], curve["lr_multiplier"], strict=True):
        set_learning_rates(optimizer, update, recipe)
        for group in optimizer.param_groups:
            peak = curve["peak_rates"][group["name"]]
            assert peak * multiplier == pytest.approx(group["lr"], rel=1e-12)


def _evaluation(update: int, best_f1: float) -> EvaluationRecord:
    return EvaluationRecord(
        update=update,
        loss=2.0,
        exact=40.0,
        f1=45.0,
        answerable_f1=30.0,
        best_f1=best_f1,
        no_answer_auc=0.5,
        seconds=0.1,
    )


def test_evaluations_are_kept_but_for_their_time(recipe: TrainingConfig) -> None:
    """What is drawn is the same of equal runs, however long they took."""
    records = [_record(update) for update in range(1, 5)]
    evaluations = [_evaluation(2, 55.0), _evaluation(4, 51.0)]
    for keep, kept in (("last", 4), ("best", 2)):
        config = recipe.model_copy(update={"keep": keep})
        curve = training_curve(records, evaluations, {}, config)
        assert curve["validation"]["update"] == [2, 4]
        assert curve["validation"]["best_f1"] == [55.0, 51.0]
        assert "seconds" not in curve["validation"]
        assert curve["kept_update"] == kept


SCORES = st.lists(st.integers(0, 100).map(float), min_size=1, max_size=30)


def scores(answerable_f1: float | None, best_f1: float) -> Scores:
    return Scores(
        exact=50.0, f1=50.0, answerable_f1=answerable_f1, best_f1=best_f1, no_answer_auc=0.54
    )


def evaluations(*scores: float) -> list[EvaluationRecord]:
    """One every ten updates, with these criteria."""
    return [
        EvaluationRecord(
            update=10 * number,
            loss=1.0,
            exact=0.0,
            f1=0.0,
            answerable_f1=score,
            best_f1=score,
            no_answer_auc=None,
            seconds=0.0,
        )
        for number, score in enumerate(scores, start=1)
    ]


def test_a_reader_that_answers_beats_one_that_abstains() -> None:
    """Figures of a real run: two best F1 that hardly differ, and readers that differ much."""
    useless, useful = scores(14.7, 50.32), scores(47.9, 50.31)
    assert useful.criterion > useless.criterion
    assert useful.criterion == pytest.approx((47.9 + 50.31) / 2)


def test_without_answerable_questions_best_f1_alone_counts() -> None:
    assert scores(None, 75.0).criterion == 75.0


@given(SCORES)
def test_the_best_is_the_first_of_the_highest(scores: list[float]) -> None:
    assert best_evaluation(evaluations(*scores)).update == 10 * (scores.index(max(scores)) + 1)


@given(SCORES, st.integers(1, 5))
def test_patience_counts_evaluations_since_the_best(scores: list[float], patience: int) -> None:
    """Oracle: told one by one, whether the last so many are all no better than those before."""
    found = evaluations(*scores)
    before, last = scores[:-patience], scores[-patience:]
    assert out_of_patience(found, patience) == (bool(before) and max(before) >= max(last))
    assert not out_of_patience(found, None)


def test_no_evaluation_uses_up_no_patience() -> None:
    assert not out_of_patience([], 1)


@pytest.mark.parametrize(
    ("scores", "rising"),
    [
        ((10, 20, 30), True),
        # The last third, twelve evaluations in all: 40, 42, 44, 46.
        ((10, 90 / 4, 24, 20, 31, 30, 35, 38, 40, 42, 44, 46), True),
        ((10, 20, 30, 40, 50, 50.1, 50.0, 49.9, 50.2, 49.8, 50.1, 50.3), False),
        # Not the best at the end, or level, or too few to say.
        ((10, 30, 29), False),
        ((30, 30, 30), False),
        ((10, 20), False),
        # Two steps up, of which the line knows nothing but its noise.
        ((50, 40, 51), False),
    ],
)
def test_rising_beyond_the_noise(scores: tuple[float, ...], rising: bool) -> None:
    """Oracle: by eye."""
    assert still_rising(evaluations(*scores)) is rising


@given(st.lists(st.integers(0, 100).map(float), min_size=3, max_size=30))
def test_a_curve_that_rises_is_never_one_that_falls(scores: list[float]) -> None:
    rising = still_rising(evaluations(*scores))
    assert not (rising and still_rising(evaluations(*reversed(scores))))
    assert not rising or scores[-1] == max(scores) > min(scores)
