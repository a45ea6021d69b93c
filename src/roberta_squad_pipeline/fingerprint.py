"""What a run depends on, as one short name: equal names, equal results."""

import hashlib
import json
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.parameters import Parameters

_NOT_SETTINGS: Any = {
    **dict.fromkeys(("run", "prepared", "experiments", "tracking", "distributed"), True),
    "training": {"checkpoint_every", "resume"},
}


def code_sha256() -> str:
    """Of all Python files of this package."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint(parameters: Parameters, files: dict[str, dict[str, Any]]) -> str:
    """Of settings, code and data.

    Args:
        parameters: Of the run; names of folders, where it is tracked and how many
            processes and checkpoints it has do not count.
        files: The record of the run's SQuAD files.
    """
    described = {
        "settings": parameters.model_dump(mode="json", exclude=_NOT_SETTINGS),
        "data": {split: file["sha256"] for split, file in files.items()},
        "code": code_sha256(),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
