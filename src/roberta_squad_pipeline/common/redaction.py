"""What a record of a run must not tell: passwords, credentials, and all that conf/local says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from roberta_squad_pipeline.common.nested import merged

HIDDEN = "***"

_USER_IN_URL = re.compile(r"(?<=://)[^/\s]+@")
_QUERY_OF_URL = re.compile(r"(://[^\s?'\"]*\?)[^\s'\",]+")
_SECRET_NAME = re.compile(
    r"(^|_)(credentials?|passwords?|passwd|secret|token|api_?key|(access|private|secret)_key)$"
)
_NAMES_OF_RUNS = {"experiment", "run", "feature_set"}
"""Parameters that are folder names and what runs are found by; no place for a secret."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Takes secrets out of what is to be recorded."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What conf/local sets, nested; a record has `HIDDEN` in their place."""
    values: frozenset[str] = frozenset()
    """Texts that are hidden wherever they stand."""

    def text(self, text: str) -> str:
        """Without users, passwords and queries of URLs, and without the values."""
        text = _QUERY_OF_URL.sub(rf"\1{HIDDEN}", _USER_IN_URL.sub(f"{HIDDEN}@", text))
        for value in sorted(self.values, key=len, reverse=True):
            # As a whole: a short one may be part of a word that tells nothing.
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text)
        return text

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A nested record without what conf/local sets and without what its names call secret."""
        return {key: self._value(key, value, self.settings) for key, value in record.items()}

    def _value(self, key: str, value: Any, settings: Any) -> Any:
        below = settings.get(key) if isinstance(settings, Mapping) else None
        set_here = below is not None and not (
            isinstance(below, Mapping) and isinstance(value, Mapping)
        )
        if set_here or _SECRET_NAME.search(key):
            return HIDDEN
        if isinstance(value, Mapping):
            return {name: self._value(name, inner, below) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.text(one) if isinstance(one, str) else one for one in value]
        return self.text(value) if isinstance(value, str) else value


def redaction(local: Path | None, credentials: Mapping[str, Any]) -> Redaction:
    """Collects what may not be recorded.

    Args:
        local: The folder conf/local, if the run reads it.
        credentials: Kedro's, composed from all environments that the run reads.
    """
    settings: dict[str, Any] = {}
    for path in sorted(local.rglob("*.y*ml")) if local else ():
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(read, dict):
            told = {key: value for key, value in read.items() if key not in _NAMES_OF_RUNS}
            settings = merged(settings, told)
    # What it sets may be quoted by settings that stand elsewhere.
    values = {str(leaf) for leaf in _leaves(credentials)}
    values |= {leaf for leaf in _leaves(settings) if isinstance(leaf, str)}
    return Redaction(settings, frozenset(values - {""}))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value
