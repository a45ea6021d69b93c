"""`kedro evaluate`: scores a trained reader on other questions, under a separate name."""

from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.runs.asking import file_of_run
from roberta_squad_pipeline.runs.session import run_pipeline

PIPELINE = "evaluate_elsewhere"


def evaluate_elsewhere(
    project: Path, env: str | None, params: dict[str, Any], *, reader: str, data: str, name: str
) -> None:
    """Scores a run's reader on another file.

    Args:
        project: The project's folder.
        env: Kedro's environment.
        params: Parameters besides those of the reader, which are its tokenizer, windows and
            settings of inference.
        reader: Name of the run that trained the reader.
        data: A SQuAD file, or one of the environment's sources.
        name: Name of all new outputs.

    Raises:
        InputError: There is no such reader, or the run is refused.
    """
    folder = file_of_run(project, env, reader, "reader")
    own = reader_parameters(folder) | {"run": name, "feature_set": name, "reader": reader}
    # Nothing is trained, so there are no training and validation data.
    given = merged(params, {"data": {"train": "", "dev": data, "validation": "dev"}})
    run_pipeline(project, env, merged(own, given), PIPELINE)


def reader_parameters(folder: Path) -> dict[str, Any]:
    """Returns the parameters with which a reader answers as it was tuned to.

    Args:
        folder: The reader's folder.

    Raises:
        InputError: There is no reader.
    """
    from roberta_squad_pipeline.reader.storage import load_evaluation, load_header

    header, evaluation = load_header(folder), load_evaluation(folder)
    inference = (evaluation.inference if evaluation else header.inference).model_dump()
    if inference["precision"] != "fp32":  # one machine is fast in other 16 bits than another
        inference["precision"] = "auto"
    return {
        "model": {"start": str(folder), "encoder": None},
        "features": header.windows.model_dump(),
        "inference": inference,
    }
