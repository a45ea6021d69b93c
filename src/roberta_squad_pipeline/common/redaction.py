"""Removes secrets from texts, and from records also the settings of conf/local."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from roberta_squad_pipeline.common.nested import merged

HIDDEN = "***"

_USER_IN_URL = re.compile(
    r"(:/{1,2})(?:[^/\s]+"  # a path that an address is taken for has one slash
    r"|[^/\s:@]*:[^\s@]*)@"  # the password of a database may have slashes
)
_QUERY_OF_URL = re.compile(
    r"(:/[^\s?'\"]*\?"
    r"|/[^\s?'\"]*\?(?=[\w.~%-]+=))"  # urllib3 quotes paths without their host
    r"[^\s'\",]+"
)
_SECRET_NAME = re.compile(
    r"(^|_)(credentials?|passwords?|passwd|secret|token|api_?key|(access|private|secret)_key)$"
)
_NAMES_OF_RUNS = {"experiment", "run", "feature_set"}
"""Parameters that name folders and runs, which are needed and are no place for a secret."""
_SHORTEST_IN_ENVIRONMENT = 4  # what is shorter is a switch

_credentials: set[str] = set()


def keep_secret(credentials: Mapping[str, Any]) -> None:
    """Hides Kedro's credentials from now on in everything that this process prints and records."""
    _credentials.update(str(leaf) for leaf in _leaves(credentials))


def redacted(text: str) -> str:
    """Removes secrets and the users, passwords and queries of URLs from a text.

    Secrets are Kedro's credentials, and environment variables whose names say that they are secret.
    """
    text = _QUERY_OF_URL.sub(rf"\1{HIDDEN}", _USER_IN_URL.sub(rf"\1{HIDDEN}@", text))
    named = {value for name, value in os.environ.items() if _SECRET_NAME.search(name.lower())}
    named = {value for value in named if len(value) >= _SHORTEST_IN_ENVIRONMENT}
    return _hidden(text, _credentials | named | {quote(value, safe="") for value in named})


def without_credentials(url: str) -> str:
    """Removes user, password and query from an address, so that it may be kept."""
    return _USER_IN_URL.sub(r"\1", url).partition("?")[0]


def _redact_record(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    if redacted(said) != said:
        record.msg, record.args = redacted(said), None
    if record.exc_info:
        told = logging.Formatter().formatException(record.exc_info)
        if redacted(told) != told:
            record.exc_info, record.exc_text = None, redacted(told)
    return True


def hide_in_logs() -> None:
    """Removes secrets from log messages: MLflow and urllib3 log complete addresses.

    Kedro's conf/logging.yml cannot refer to a filter of the project.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(_redact_record)


@dataclass(frozen=True, slots=True)
class Redaction:
    """Removes secrets from records."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Nested settings, such as those of conf/local; a record has `HIDDEN` in their place."""

    def text(self, text: str) -> str:
        """Like `redacted`, and without the texts among the settings, which others may quote."""
        quoted = (leaf for leaf in _leaves(self.settings) if isinstance(leaf, str))
        return _hidden(redacted(text), quoted)

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A nested record without settings of conf/local and without secrets."""
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


def redaction(local: Path | None) -> Redaction:
    """Collects what must not be recorded.

    Args:
        local: The folder conf/local, if the run reads it.
    """
    settings: dict[str, Any] = {}
    for path in sorted(local.rglob("*.y*ml")) if local else ():
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(read, dict):
            told = {key: value for key, value in read.items() if key not in _NAMES_OF_RUNS}
            settings = merged(settings, told)
    return Redaction(settings)


def _hidden(text: str, values: Iterable[str]) -> str:
    for value in sorted(values, key=len, reverse=True):
        if value:
            # Only whole words: a short value may be part of a harmless word.
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text)
    return text


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value
