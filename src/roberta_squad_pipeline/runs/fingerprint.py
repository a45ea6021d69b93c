"""What a run depends on, as one short name: equal names, equal results."""

from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.runs.parameters import Parameters

_NOT_SETTINGS: Any = {
    **dict.fromkeys(
        ("run", "prepared", "experiments", "scale", "tracking", "distributed", "locks"), True
    ),
    "checkpoint": True,
    "training": {"checkpoint_every", "resume"},
}


def fingerprint(parameters: Parameters, files: dict[str, dict[str, Any]]) -> str:
    """Of settings, code, libraries, data and the encoder's weights.

    Args:
        parameters: Of the run; names of folders, where it is tracked and how many
            processes and checkpoints it has do not count.
        files: The record of the run's SQuAD files.
    """
    return digest(
        surroundings()
        | {
            "settings": parameters.model_dump(mode="json", exclude=_NOT_SETTINGS),
            "data": {split: file["sha256"] for split, file in files.items()},
            "weights": weights_of(parameters.model.source),
        }
    )


def preparation(parameters: Parameters) -> str:
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
            "files": [
                _stamps(Path(path)) for path in (data.train, data.dev, str(data.validation), source)
            ],
        }
    )


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    stats = [(file.name, file.stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
