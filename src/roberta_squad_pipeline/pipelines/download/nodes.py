"""Puts the run's SQuAD files on disk."""

import json
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of, sha256_of_files, written_atomically
from roberta_squad_pipeline.runs.parameters import DataConfig, DemoSource, RemoteSource
from roberta_squad_pipeline.squad.download import fetch
from roberta_squad_pipeline.squad.forms import files_of

SquadFiles = dict[str, dict[str, Any]]
"""For train and dev, and for validation where it has a file: path, size_bytes and sha256."""


def fetch_squad_files(data: DataConfig, feature_set: str) -> SquadFiles:
    """Fetches, generates or finds all files.

    Args:
        data: Which, and where to put them.
        feature_set: Folder name for generated files, so that runs with other settings keep theirs.

    Raises:
        InputError: A file cannot be fetched or is not there.
    """
    # Where another run's reader is scored, there may be no training questions.
    names = {"dev": data.dev} if data.train == "" else {"train": data.train, "dev": data.dev}
    if data.validation_file is not None:
        names["validation"] = data.validation_file
    return {
        split: _describe(_materialise(name, data, feature_set)) for split, name in names.items()
    }


def _materialise(name: str, data: DataConfig, feature_set: str) -> Path:
    source = data.sources.get(name)
    if isinstance(source, RemoteSource):
        return fetch(source.url, source.sha256, source.size_bytes, data.folder, progress=True)
    if isinstance(source, DemoSource):
        from roberta_squad_pipeline.demo.generator import generate

        path = data.folder / feature_set / f"{name}.json"
        squad = generate(source.split, passages=source.passages, seed=source.seed)
        with written_atomically(path) as temp:
            temp.write_text(json.dumps(squad, indent=1) + "\n", encoding="utf-8")
        return path
    path = Path(name)
    if not files_of(path)[0].is_file():
        raise InputError(
            where=str(path),
            got="no such file",
            expected=f"a file of questions, or one of the sources {', '.join(data.sources)}",
            remedy="Correct data.train, data.dev or data.validation; relative paths count from the "
            "folder that the command is run in.",
        )
    return path


def _describe(path: Path) -> dict[str, Any]:
    files = files_of(path)
    sha256 = sha256_of(path) if files == [path] else sha256_of_files(files)
    size = sum(file.stat().st_size for file in files)
    return {"path": str(path), "size_bytes": size, "sha256": sha256}
