"""Provides the run's SQuAD files on disk."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of, sha256_of_files, write_text
from roberta_squad_pipeline.pipelines import SquadFiles
from roberta_squad_pipeline.runs.parameters import DataConfig, DemoSource, Paths, RemoteSource
from roberta_squad_pipeline.squad.download import fetch
from roberta_squad_pipeline.squad.forms import files_of
from roberta_squad_pipeline.squad.sources import QuestionFiles, local_path, write_questions

_logger = logging.getLogger(__name__)


def fetch_squad_files(
    data: DataConfig, unlabelled: Any, feature_set: str, train_questions: Any, dev_questions: Any
) -> SquadFiles:
    """Downloads, generates, writes or finds all files.

    Args:
        data: Which files, and where to put them.
        unlabelled: `Paths` of questions without answers, or None; Kedro knows no such hint.
        feature_set: Name of the folder for files of this run.
        train_questions: From the catalog: `QuestionFiles`, or else the questions themselves.
        dev_questions: Like `train_questions`.

    Raises:
        InputError: A file cannot be fetched or does not exist, or the catalog's questions have an
            unknown form.
    """
    paths = {
        "train": _materialise("train", data.train, train_questions, data, feature_set),
        "dev": _materialise("dev", data.dev, dev_questions, data, feature_set),
    }
    for split, named in (("validation", data.validation_file), ("unlabelled", unlabelled)):
        if named is not None:
            paths[split] = _materialise(split, named, QuestionFiles(), data, feature_set)
    return {split: _describe(path) for split, path in paths.items() if path is not None}


def _materialise(
    split: str, name: Paths, questions: Any, data: DataConfig, feature_set: str
) -> Path | None:
    """Returns None if there are no such questions: scoring a reader needs none of train."""
    folder = data.folder / feature_set
    if not isinstance(questions, QuestionFiles):
        entry = f"{split}_questions"
        _logger.info("%s: the questions of the catalog's entry %s", split, entry)
        return write_questions(questions, folder / entry, where=f"catalog entry {entry}")
    paths = questions.paths or ((name,) if isinstance(name, str) else name)
    if paths == ("",):
        return None
    source = data.sources.get(paths[0]) if len(paths) == 1 else None
    if isinstance(source, RemoteSource):
        return fetch(source.url, source.sha256, source.size_bytes, data.folder)
    if isinstance(source, DemoSource):
        from roberta_squad_pipeline.demo.generator import generate

        path = folder / f"{paths[0]}.json"
        squad = generate(source.split, passages=source.passages, seed=source.seed)
        write_text(path, json.dumps(squad, indent=1) + "\n")
        return path
    path = local_path(replace(questions, paths=paths), folder, listed_as=split)
    for file in files_of(path):
        if not file.is_file():
            raise InputError(
                where=str(file),
                got="no such file",
                expected=f"a file of questions, or one of the sources {', '.join(data.sources)}",
                remedy="Correct data.train, data.dev, data.validation or distil.unlabelled; "
                "relative paths count from the folder that the command is run in.",
            )
    return path


def _describe(path: Path) -> dict[str, Any]:
    files = files_of(path)
    sha256 = sha256_of(path) if files == [path] else sha256_of_files(files)
    size = sum(file.stat().st_size for file in files)
    return {"path": str(path), "size_bytes": size, "sha256": sha256}
