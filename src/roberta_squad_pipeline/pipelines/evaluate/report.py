"""Writes the report of scores; not among the code that results depend on."""

from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.common.same_run import surroundings
from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD
from roberta_squad_pipeline.pipelines import DataFrame, SquadFiles
from roberta_squad_pipeline.tracking.provenance import Provenance
from roberta_squad_pipeline.tracking.tracker import flat_params

if TYPE_CHECKING:
    from roberta_squad_pipeline.reader.evaluation import Evaluation

_NULL_SCORES = {
    "best_span": "best span's window",
    "min_window": "lowest window",
    "combined": "best span's window and of its span logits, with fitted weights",
}


def write_report(
    run: str,
    reader: str | None,
    squad_files: SquadFiles,
    reader_header: dict[str, Any] | None,
    provenance: Provenance | None,
    redaction: Redaction | None,
    questions: DataFrame,
    metrics_crossfit: dict[str, Any],
    evaluation: dict[str, Any],
    training_curve: dict[str, Any] | None,
) -> dict[str, Any]:
    """Writes one HTML file with scores, figures, all questions, and what the scores depend on.

    Returns:
        `report`, the file's text; and the figures in it, each as `figure_NAME`.
    """
    from roberta_squad_pipeline.evaluation.report import figures
    from roberta_squad_pipeline.evaluation.report.page import report_page
    from roberta_squad_pipeline.evaluation.report.scores import cross_fitted_scores, official_scores
    from roberta_squad_pipeline.evaluation.report.slices import slices_of
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    evaluated = Evaluation.model_validate(evaluation)
    drawn = {
        "threshold": figures.threshold_figure(questions, evaluated.scores, metrics_crossfit),
        "no_answer": figures.no_answer_figure(questions),
        "precision_recall": figures.precision_recall_figure(questions),
        "calibration": figures.calibration_figure(evaluated.calibration),
        "training": figures.training_figure(training_curve),
        "slices": figures.slices_figure(slices_of(questions)),
    }
    signature = (
        f"{evaluated.questions} questions of {evaluated.data} (sha256 "
        f"{evaluated.data_sha256[:12]}), no-answer score of the "
        f"{_NULL_SCORES[evaluated.inference.null_score]}, abstaining above "
        f"{NO_ANSWER_THRESHOLD:g}, roberta_squad_pipeline {evaluated.version}"
    )
    if evaluated.tuned_elsewhere:
        signature += ". The reader's own threshold and probabilities come from other data"
    if evaluated.selected_on_data:
        signature += (
            ". Scores on these very questions decided which weights the reader has, so that all of "
            "these are optimistic"
        )
    page = report_page(
        run=run,
        signature=signature,
        scores=official_scores(questions, evaluated.scores, metrics_crossfit),
        fitted=cross_fitted_scores(metrics_crossfit),
        figures=drawn,
        questions=questions,
        settings=_settings(
            reader or run,
            squad_files,
            reader_header or {},
            evaluated,
            provenance,
            redaction or Redaction(),
        ),
    )
    return {"report": page} | {f"figure_{name}": figure for name, figure in drawn.items()}


def _settings(
    reader: str,
    files: SquadFiles,
    header: dict[str, Any],
    evaluated: "Evaluation",
    provenance: Provenance | None,
    redaction: Redaction,
) -> dict[str, dict[str, str]]:
    """What scores depend on, in groups, without secrets."""
    recipe = header.get("recipe", {})
    git = f"{provenance.git_commit} ({provenance.git_tree})" if provenance else "not known"
    tokenizer = {"tokenizer.sha256": header["tokenizer"]["sha256"]} if header else {}
    groups = {
        "data": files,
        "model": {"reader": reader, **recipe.get("model", {}), **tokenizer},
        "training": {
            **{name: value for name, value in recipe.items() if name not in {"model", "training"}},
            **recipe.get("training", {}),
        },
        "features": header.get("windows", {}),
        "inference": evaluated.inference.model_dump(mode="json"),
        "code": {"version": evaluated.version, "git commit": git, **surroundings()},
    }
    return {name: flat_params(group) for name, group in redaction.record(groups).items()}
