"""What is kept of a run's updates."""

import pytest

from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.curve import training_curve
from roberta_squad_pipeline.training.learning_rates import (
    build_optimizer,
    peak_learning_rates,
    set_learning_rates,
)
from roberta_squad_pipeline.training.records import EvaluationRecord, UpdateRecord


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
