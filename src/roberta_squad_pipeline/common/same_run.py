"""The definition of "the same run": the same code, libraries, settings, data and weights.

A sweep skips a run if the same one is finished, training continues from checkpoints of the same
run, two runs may prepare the same data at the same time, and a row of the experiment table has runs
that are the same except for their seeds. All of these compare descriptions that begin with
`surroundings`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from roberta_squad_pipeline.common.files import sha256_of

PACKAGE = Path(__file__).parents[1]

_ROOMS = (
    *("squad", "demo", "features", "reader", "training", "inference", "evaluation"),
    *("distributed", "pipelines"),
)
"""The folders that results depend on. The others present, record and check."""
_SHOWING = (
    *("evaluation/report", "pipelines/evaluate/report.py"),
    *("pipelines/compare", "pipelines/validate", "pipelines/export_onnx"),
)
"""Of these, what shows, checks or exports them."""

_LIBRARIES = ("numpy", "scipy", "tokenizers", "torch", "transformers")
"""Libraries whose releases may change results."""

_WEIGHTS = ("*.safetensors", "members/*/*.safetensors")
"""The latter are those of an ensemble."""


def surroundings() -> dict[str, Any]:
    """Describes what results depend on besides parameters and data: code and libraries."""
    return {
        "code": code_sha256(PACKAGE),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # onnxruntime answers without torch
        return None


def digest(described: dict[str, Any]) -> str:
    """A short name of a description: equal names mean equal descriptions."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Lists the differences between two descriptions, one text per value, sha256 sums cut short.

    Args:
        there: The earlier one.
        here: The present one.
        prefix: Put before each name.
    """
    for key in sorted(there.keys() | here.keys()):
        old, new = there.get(key), here.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            said = f"{prefix}{key}: {old} there, {new} here"
            yield re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", said)


@cache
def code_sha256(package: Path) -> str:
    """Hashes the Python and data files of a package that results depend on."""
    found = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (package / room).rglob("*.*")):
        name = path.relative_to(package).as_posix()
        if path.suffix in {".py", ".yml"} and not name.startswith(_SHOWING):
            found.update(name.encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def weights_of(source: str | Path) -> dict[str, str]:
    """Returns the sha256 of each file of weights in a folder; nothing if `source` is not a folder.

    Models on the hub or in MLflow are identified by their name.
    """
    return {
        path.relative_to(source).as_posix(): _sha256(path, path.stat().st_mtime_ns)
        for pattern in _WEIGHTS
        for path in sorted(Path(source).glob(pattern))
    }


@cache
def _sha256(path: Path, _modified_ns: int) -> str:
    # The runs of a sweep share an encoder, and hashing a large one takes seconds.
    return sha256_of(path)
