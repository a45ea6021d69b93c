"""Records what each output was made with, so that outputs of other settings are recognised."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import stamps
from roberta_squad_pipeline.common.same_run import digest
from roberta_squad_pipeline.runs.fingerprint import features_of, settings_of
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.runs.readers import other_readers
from roberta_squad_pipeline.squad.forms import files_of

QUESTIONS = {"train": "train_questions", "dev": "dev_questions"}
"""The dataset of questions by split; a project may replace it in its catalog."""

QUESTION_FILES = "roberta_squad_pipeline.datasets.QuestionsDataset"
"""The type of these datasets; if an entry has no filepath, parameters name the files."""

_PARAMETER = "params:"


class MadeWith:
    """Keeps, for each dataset in a file or folder, a short name of what it was made with.

    That is the settings that its node takes, and what the node's other inputs were made with.

    Args:
        catalog: The catalog of the run.
        parameters: All parameters of the run.
    """

    def __init__(self, catalog: CatalogProtocol[Any, Any], parameters: Parameters) -> None:
        self._catalog = catalog
        self._folder = parameters.made_with
        self._settings = settings_of(parameters) | {
            "files": _file_stamps(parameters),
            **other_readers(parameters, self._path("readers") or Path()),
        }
        self._questions = own_questions(catalog)

    def forget(self, dataset: str) -> None:
        """Removes a dataset's record, before the dataset is replaced, which may fail."""
        if record := self._record(dataset):
            record.unlink(missing_ok=True)

    def keep(self, dataset: str, node: Node) -> None:
        """Records what a dataset was made with, after its node has saved it."""
        if record := self._record(dataset):
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(self._name(node, {}), encoding="utf-8")

    def names(self, pipeline: Pipeline) -> dict[str, str]:
        """Short names of what each output of a pipeline would be made with now."""
        now: dict[str, str] = {}
        for node in pipeline.nodes:
            now |= dict.fromkeys(node.outputs, self._name(node, now))
        return now

    def outdated(self, pipeline: Pipeline) -> Pipeline:
        """The nodes with an output that is missing, or was made with something else."""
        now = self.names(pipeline)
        return Pipeline(
            [
                node
                for node in pipeline.nodes
                # A node without outputs always runs, for its messages.
                if not node.outputs
                or any(self._read(output) != now[output] for output in node.outputs)
            ]
        )

    def existing(self, datasets: Iterable[str]) -> list[str]:
        """The datasets that exist on disk."""
        return sorted(name for name in datasets if (path := self._path(name)) and path.exists())

    def _name(self, node: Node, now: dict[str, str]) -> str:
        inputs: dict[str, Any] = {}
        for name in node.inputs:
            section = name.removeprefix(_PARAMETER)
            if section == name:
                inputs[name] = now.get(name) or self._questions.get(name) or self._read(name)
            else:
                inputs[name] = self._setting(section, node)
            if section in {"data", "model"}:  # which name files
                inputs["files"] = self._settings["files"]
        return digest({"outputs": sorted(node.outputs), "inputs": inputs})

    def _setting(self, section: str, node: Node) -> Any:
        """The part of a section of parameters that a node depends on."""
        evaluates = self._settings["training"]["evaluate_every"] is not None
        if section == "training" and "data" in node.tags:
            return evaluates
        if section == "model" and "data" in node.tags:
            return features_of(self._settings)["model"]
        # A reader is not trained again just to see more of its answers.
        if section == "inference" and "evaluation" not in node.tags and not evaluates:
            return None
        name, _, inner = section.partition(".")
        found = self._settings.get(name)
        return found[inner] if found and inner else found

    def _read(self, dataset: str) -> str | None:
        record = self._record(dataset)
        if record is None or not record.exists() or not self._catalog.exists(dataset):
            return None
        return record.read_text(encoding="utf-8")

    def _record(self, dataset: str) -> Path | None:
        if (path := self._path(dataset)) is None:
            return None
        # Two datasets share the file of the reader's evaluation, for reading and for writing.
        return self._folder / f"{quote(os.path.relpath(path), safe='')}.{dataset}"

    def _path(self, dataset: str) -> Path | None:
        found = getattr(self._catalog.get(dataset), "_filepath", None)
        return Path(found) if found else None


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


def _file_stamps(parameters: Parameters) -> list[list[tuple[str, int, int]]]:
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
