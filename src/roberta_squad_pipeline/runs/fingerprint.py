"""Describes what a run depends on, and gives this a short name: equal names mean equal results."""

from collections.abc import Mapping
from typing import Any

from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.runs.readers import weights_name
from roberta_squad_pipeline.tracking.tracker import flat_params

RESOLVED = {"trained_with": "training", "answered_with": "inference"}
"""Datasets with resolved settings, and the section of the parameters that they belong to."""

_IN_PART = tuple(RESOLVED.values())
_NOT_SETTINGS: Any = {
    **dict.fromkeys(("run", "feature_set", "experiments", "scale", "tracking"), True),
    **dict.fromkeys(("distributed", "checkpoint", "locks", "made_with"), True),
    **dict.fromkeys(("predict", "export", "overwrite", "ensemble", "tune"), True),
    "training": {"micro_batch", "checkpoint_every", "resume"},
    "inference": {"batch_windows"},
}

_NOT_RECIPE = {
    *("experiment", "training.seed"),
    *(f"{section}.{name}" for section in _IN_PART for name in _NOT_SETTINGS[section]),
}
_SECTIONS = {
    *("code", "libraries", "squad_files", "weights"),
    *(name for name in Parameters.model_fields if _NOT_SETTINGS.get(name) is not True),
}


def settings_of(parameters: Parameters) -> dict[str, Any]:
    """Returns the parameters of a run that its results depend on.

    Not among them are names of folders, tracking, the numbers of processes and checkpoints, and how
    many windows are read at once.
    """
    return parameters.model_dump(mode="json", exclude=_NOT_SETTINGS)


def features_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of a run those that its features depend on."""
    return {
        "data": settings["data"],
        "features": settings["features"],
        "distil": {"unlabelled": settings["distil"]["unlabelled"]},
        "model": {name: settings["model"][name] for name in ("encoder", "start")},
    }


def description(parameters: Parameters, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describes settings, code, libraries, data and the encoder's weights, with MLflow's names.

    Its `digest` is the run's fingerprint: equal ones mean equal results. A precision of `auto`
    counts as what it stands for on this machine.

    Args:
        parameters: All parameters of the run.
        files: The record of the run's SQuAD files.
    """
    teacher, settings = parameters.distil.teacher, settings_of(parameters)
    for section in _IN_PART:
        if settings[section]["precision"] == "auto":
            # Not sooner, since it loads torch.
            from roberta_squad_pipeline.reader.device import available_device, fast_precision

            settings[section]["precision"] = fast_precision(available_device())
    return (
        settings
        | surroundings()
        | {
            "squad_files": {split: {"sha256": file["sha256"]} for split, file in files.items()},
            "weights": weights_of(parameters.model.source)
            | ({"teacher": weights_name(teacher)} if teacher else {}),
        }
    )


def recipe(described: dict[str, Any]) -> str:
    """Returns the short name of all that a run depends on except its seed and its names.

    Runs of one recipe repeat each other.

    Args:
        described: See `description`.
    """
    return digest(recipe_params(flat_params(described)))


def recipe_params(params: Mapping[str, str]) -> dict[str, str]:
    """Selects the parameters of a run's recipe, with the precision that `auto` was resolved to.

    Args:
        params: The parameters that MLflow has, by dotted name.
    """
    resolved = {
        f"{section}.precision": params[name]
        for dataset, section in RESOLVED.items()
        if (name := f"{dataset}.precision") in params
    }
    return {
        name: value
        for name, value in {**params, **resolved}.items()
        if name.split(".")[0] in _SECTIONS
        and name not in _NOT_RECIPE
        and (not name.startswith("squad_files.") or name.endswith(".sha256"))
    }
