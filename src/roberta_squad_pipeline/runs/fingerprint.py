"""What a run depends on, as one short name: equal names, equal results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.files import stamps
from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.tracking.tracker import flat_params

_NOT_SETTINGS: Any = {
    **dict.fromkeys(("run", "feature_set", "experiments", "scale", "tracking"), True),
    **dict.fromkeys(("distributed", "checkpoint", "locks", "made_with"), True),
    **dict.fromkeys(("predict", "overwrite"), True),
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


def feature_fingerprint(parameters: Parameters) -> str:
    """Of all that the record of SQuAD files and the features depend on.

    Args:
        parameters: Of the run. A file or folder that they name counts with the sizes and times of
            what is in it.
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
