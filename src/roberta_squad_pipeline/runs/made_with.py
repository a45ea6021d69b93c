"""Records what each output was made with, so that outputs of other settings are recognised."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from roberta_squad_pipeline.common.same_run import digest
from roberta_squad_pipeline.runs.fingerprint import (
    features_of,
    file_stamps,
    own_questions,
    settings_of,
)
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.runs.readers import other_readers

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
            "files": file_stamps(parameters),
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
