"""What a run depends on, as one short name: equal names, equal results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol

from roberta_squad_pipeline.common.files import stamps
from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.tracking.tracker import flat_params

QUESTIONS = {"train": "train_questions", "dev": "dev_questions"}
"""By split the dataset of its questions, in whose place a project may put one of its own."""

QUESTION_FILES = "roberta_squad_pipeline.datasets.questions_dataset.QuestionsDataset"
"""The type of these; where its entry has no filepath, parameters say which files."""

_NOT_SETTINGS: Any = {
    **dict.fromkeys(("run", "feature_set", "experiments", "scale", "tracking"), True),
    **dict.fromkeys(("distributed", "checkpoint", "locks", "made_with"), True),
    **dict.fromkeys(("predict", "export", "overwrite", "tune"), True),
    "training": {"checkpoint_every", "resume"},
}

_NOT_RECIPE = {
    *("experiment", "training.seed"),
    *(f"training.{name}" for name in _NOT_SETTINGS["training"]),
}
_SECTIONS = {
    *("code", "libraries", "squad_files", "weights"),
    *(name for name in Parameters.model_fields if _NOT_SETTINGS.get(name) is not True),
}


def settings_of(parameters: Parameters) -> dict[str, Any]:
    """Of a run's parameters those that its results depend on.

    Names of folders, where it is tracked and how many processes and checkpoints it has do not.
    """
    return parameters.model_dump(mode="json", exclude=_NOT_SETTINGS)


def description(parameters: Parameters, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Settings, code, libraries, data and the encoder's weights, under the names that MLflow has.

    Args:
        parameters: Of the run.
        files: The record of the run's SQuAD files.
    """
    return (
        settings_of(parameters)
        | surroundings()
        | {
            "squad_files": {split: {"sha256": file["sha256"]} for split, file in files.items()},
            "weights": weights_of(parameters.model.source),
        }
    )


def fingerprint(parameters: Parameters, files: dict[str, dict[str, Any]]) -> str:
    """The short name of a run's `description`."""
    return digest(description(parameters, files))


def recipe(parameters: Parameters, files: dict[str, dict[str, Any]]) -> str:
    """The short name of all that a run depends on but its seed and its names.

    Runs of one recipe repeat each other.
    """
    return digest(recipe_params(flat_params(description(parameters, files))))


def recipe_params(params: Mapping[str, str]) -> dict[str, str]:
    """Of the parameters that MLflow has of a run, those that make its recipe.

    Args:
        params: By dotted name.
    """
    return {
        name: value
        for name, value in params.items()
        if name.split(".")[0] in _SECTIONS
        and name not in _NOT_RECIPE
        and (not name.startswith("squad_files.") or name.endswith(".sha256"))
    }


def own_questions(catalog: CatalogProtocol[Any, Any]) -> dict[str, str]:
    """The entries of a project's own that questions are loaded from, as texts, by dataset.

    A file or folder that one names counts with the sizes and times of what is in it; credentials
    do not count.

    Args:
        catalog: Of the run.

    Returns:
        Nothing for questions whose files parameters name.
    """
    found = {}
    for name in QUESTIONS.values():
        dataset = catalog.get(name)
        entry = {} if dataset is None else dataset._init_config()
        path = entry.get("filepath")
        if not entry or (entry["type"] == QUESTION_FILES and not path):
            continue
        paths = path if isinstance(path, list) else [path] if path else []
        counted = {key: entry[key] for key in entry.keys() - {"metadata", "credentials"}}
        files = [stamps(Path(one)) for one in paths]
        # A resolver of the project's may have made an argument of any type.
        found[name] = json.dumps([counted, files], sort_keys=True, default=str)
    return found


def feature_fingerprint(parameters: Parameters, questions: Mapping[str, str]) -> str:
    """Of all that the record of SQuAD files and the features depend on.

    Args:
        parameters: Of the run. A file or folder that they name counts with the sizes and times of
            what is in it.
        questions: See `own_questions`.
    """
    data, source = parameters.data, parameters.model.source
    return digest(
        surroundings()
        | {
            "data": data.model_dump(mode="json"),
            "windows": parameters.features.model_dump(mode="json"),
            "encoder": source,
            "evaluates": parameters.training.evaluate_every is not None,
            "files": file_stamps(parameters),
            "questions": dict(questions),
        }
    )


def file_stamps(parameters: Parameters) -> list[list[tuple[str, int, int]]]:
    """Names, sizes and times of the files that the parameters name."""
    data = parameters.data
    return [
        stamps(Path(path))
        for named in (data.train, data.dev, str(data.validation), parameters.model.source)
        for path in ([named] if isinstance(named, str) else named)
    ]
