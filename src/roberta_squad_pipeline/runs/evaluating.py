"""`kedro evaluate`: a trained reader on other questions, under a name of their own."""

from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.runs.asking import file_of_run
from roberta_squad_pipeline.runs.session import run_pipeline

PIPELINE = "evaluate_elsewhere"


def evaluate_elsewhere(
    project: Path, env: str | None, params: dict[str, Any], *, reader: str, data: str, name: str
) -> None:
    """Scores a run's reader on a file that it has not seen.

    Args:
        project: The project's folder.
        env: Kedro's environment.
        params: Set beside those that the reader brings: its tokenizer, windows and ways to answer.
        reader: Name of the run that trained it.
        data: SQuAD file, or one of the environment's sources.
        name: Of the new outputs, all of them.

    Raises:
        InputError: There is no such reader, or the run is refused.
    """
    folder = file_of_run(project, env, reader, "reader")
    own = reader_parameters(folder) | {"run": name, "feature_set": name, "reader": reader}
    # Nothing is trained, so that there is neither training nor validation data.
    given = merged(params, {"data": {"train": "", "dev": data, "validation": "dev"}})
    run_pipeline(project, env, merged(own, given), PIPELINE)


def reader_parameters(folder: Path) -> dict[str, Any]:
    """The parameters under which a reader answers as it was tuned to.

    Args:
        folder: The reader's.

    Raises:
        InputError: There is no reader.
    """
    from roberta_squad_pipeline.reader.storage import load_evaluation, load_header

    header, evaluation = load_header(folder), load_evaluation(folder)
    inference = evaluation.inference if evaluation else header.inference
    return {
        "model": {"start": str(folder), "encoder": None},
        "features": header.windows.model_dump(),
        "inference": inference.model_dump(),
    }
