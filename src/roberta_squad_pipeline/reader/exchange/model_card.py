"""A reader's README.md, as the Hugging Face hub expects it."""

import re
from importlib.resources import files
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCardData

from roberta_squad_pipeline.common.tables import table
from roberta_squad_pipeline.evaluation.calibration import Calibration
from roberta_squad_pipeline.features.config import Order
from roberta_squad_pipeline.reader.evaluation import Evaluation
from roberta_squad_pipeline.reader.storage import TrainedReader

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TASK = "question-answering"
_FORM: dict[Order, str] = {
    "passage_first": "A window reads `<s> passage </s> Q: question </s>`, the passage first, in "
    "the encoder's\nown special tokens: `tokenizer(question, passage)` lays it out in another way.",
    "question_first": "A window is what `tokenizer(question, passage)` makes: the question first.",
}


def model_card(trained: TrainedReader, name: str) -> str:
    """Writes the card: data, recipe, and scores with what they were measured on.

    Args:
        trained: The reader.
        name: The model's name.
    """
    evaluation = trained.evaluation
    encoder = trained.header.tokenizer.encoder
    from_hub = _HUB_ID.fullmatch(encoder) and not Path(encoder).is_dir()
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=_TASK,
        base_model=encoder if from_hub else None,
        tags=["extractive-question-answering", "no-answer", "roberta_squad_pipeline"],
        model_name=name,
        eval_results=_results(evaluation) if evaluation else None,
    )
    windows = trained.header.windows
    text = files(__package__).joinpath("model_card.md").read_text(encoding="utf-8")
    return f"---\n{data.to_yaml()}\n---\n\n" + text.format(
        name=name,
        form=_FORM[windows.order],
        max_tokens=windows.max_tokens,
        recipe=yaml.safe_dump(trained.header.recipe, sort_keys=False),
        scores=_scores(evaluation),
    )


def _results(evaluation: Evaluation) -> list[EvalResult]:
    threshold = evaluation.scores["best_f1_thresh"]
    names = {
        "exact": ("exact_match", "exact at threshold 0"),
        "f1": ("f1", "F1 at threshold 0"),
        "best_f1": ("f1", f"best F1, at threshold {threshold}"),
    }
    return [
        EvalResult(
            task_type=_TASK,
            dataset_type=Path(evaluation.data).stem,
            dataset_name=evaluation.data,
            dataset_revision=evaluation.data_sha256,
            metric_type=kind,
            metric_name=name,
            metric_value=evaluation.scores[key],
        )
        for key, (kind, name) in names.items()
    ]


def _scores(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "This reader was not evaluated; its probabilities are not calibrated."
    crossfit = evaluation.cross_fitted_f1
    signature = {
        "data": evaluation.data,
        "sha256": evaluation.data_sha256,
        "questions": evaluation.questions,
        "no-answer score": evaluation.inference.null_score,
        "tuned threshold": _threshold(evaluation.calibration),
        "scored by": f"roberta_squad_pipeline {evaluation.version}",
        "weights chosen on this data": "yes" if evaluation.selected_on_data else "no",
        "F1, cross-fitted threshold": "too few passages" if crossfit is None else crossfit,
    }
    rows = (signature | evaluation.scores).items()
    return (
        "The figures of the official SQuAD 2.0 scorer, in per cent. `exact` and `f1` abstain if\n"
        "the no-answer score is above 0, `best_…` at the best threshold for this very data,\n"
        f"which makes them optimistic.\n\n{table(('', ''), rows)}"
    )


def _threshold(calibration: Calibration) -> str:
    if calibration.always_answers:
        return "answers every question"
    if calibration.threshold is None:
        return "abstains on every question"
    untuned = f" (not tuned: {calibration.uncalibrated})" if calibration.uncalibrated else ""
    return f"{calibration.threshold}{untuned}"
