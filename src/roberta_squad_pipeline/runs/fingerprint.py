"""Describes what a run depends on, and gives this a short name: equal names mean equal results."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import stamps
from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.runs.readers import weights_name
from roberta_squad_pipeline.squad.forms import files_of
from roberta_squad_pipeline.tracking.tracker import flat_params

QUESTIONS = {"train": "train_questions", "dev": "dev_questions"}
"""The dataset of questions by split; a project may replace it in its catalog."""

QUESTION_FILES = "roberta_squad_pipeline.datasets.QuestionsDataset"
"""The type of these datasets; if an entry has no filepath, parameters name the files."""

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


def own_questions(catalog: CatalogProtocol[Any, Any]) -> dict[str, str]:
    """Describes catalog entries of the project that questions are loaded from, by dataset.

    Files and folders count with the sizes and times of their files; credentials do not count.

    Returns:
        A text per dataset; none for questions whose files are named by parameters.
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
        # A resolver of the project's may have made an argument of any type.
        found[name] = json.dumps([counted, _stamps_of(paths)], sort_keys=True, default=str)
    return found


def file_stamps(parameters: Parameters) -> list[list[tuple[str, int, int]]]:
    """Names, sizes and times of the files that the parameters name."""
    data, source = parameters.data, parameters.model.source
    named = (data.train, data.dev, data.validation_file, parameters.distil.unlabelled)
    paths = [[one] if isinstance(one, str) else one or () for one in named]
    of_source = stamps(Path(source)) if source else []
    return [of_source, *(_stamps_of(of_one) for of_one in paths)]


def _stamps_of(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """Those of all files that paths of questions stand for."""
    found: list[tuple[str, int, int]] = []
    for path in filter(None, paths):  # an empty one would be the project's folder
        with suppress(InputError):  # what is wrong with it is said where it is read
            found += [stamp for file in files_of(Path(path)) for stamp in stamps(file)]
    return found
