"""What a record must not tell. Oracle: texts by hand, in which the secrets are to be looked for."""

import io
import logging
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import (
    Redaction,
    hide_in_logs,
    keep_secret,
    redacted,
    redaction,
    without_credentials,
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://host/a.json", "https://host/a.json"),
        ("https://me:pa:ss@host:8/a.json", "https://***@host:8/a.json"),
        ("https://token@host/a.json?download=1&sig=x", "https://***@host/a.json?***"),
        (
            "a.url=https://h/f?k=1,b.url=https://m:p@h/f",
            "a.url=https://h/f?***,b.url=https://***@h/f",
        ),
        ("postgresql+psycopg://u:p@db/x", "postgresql+psycopg://***@db/x"),
        ("https:/me:x@host/a?sig", "https:/***@host/a?***"),
        ("postgresql://u:p/w@db/x", "postgresql://***@db/x"),
        ("postgresql://db/x?user=u&password=p", "postgresql://db/x?***"),
        (
            "HTTPSConnectionPool(host='h'): exceeded with url: /a?X-Amz-Signature=x (E())",
            "HTTPSConnectionPool(host='h'): exceeded with url: /a?*** (E())",
        ),
        ("mail me@host, why? because", "mail me@host, why? because"),
        ("", ""),
    ],
)
def test_urls(text: str, left: str) -> None:
    assert Redaction().text(text) == left


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://me:secret@host:5000/a", "http://host:5000/a"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql://u:p/w@db/x?password=p", "postgresql://db/x"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
    ],
)
def test_address_that_may_be_kept(url: str, kept: str) -> None:
    assert without_credentials(url) == kept


def test_secrets_of_the_environment_and_credentials_are_in_no_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Messages of errors among them."""
    monkeypatch.setattr("roberta_squad_pipeline.common.redaction._credentials", set())
    keep_secret({"store": {"key": "abc", "pin": 1234, "none": None, "switch": True}})
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "tok@en")
    monkeypatch.setenv("USES_TOKEN", "1")
    assert redacted("abc, 1234, tok@en, tok%40en, 1, True") == "***, ***, ***, ***, 1, True"
    error = InputError(where="https://me:x@h", got="abc", expected="1", remedy="Ask /a?sig=x")
    assert str(error) == "https://***@h: got ***; expected 1. Ask /a?***"
    assert (error.got, error.remedy) == ("***", "Ask /a?***")


def test_log_messages_and_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote them. Oracle: what a handler like Kedro's writes."""
    said = io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(said)])
    hide_in_logs()
    logger = logging.getLogger("somebody.else")
    logger.warning("%s is away, %d%%", "https://me:hush@host/a?sig=hush", 5)
    try:
        int("https://me:hush@host")
    except ValueError:
        logger.exception("no number")
    assert said.getvalue().startswith("https://***@host/a?*** is away, 5%\nno number\nTraceback")
    assert said.getvalue().endswith("with base 10: 'https://***@host'\n")


def test_values_are_hidden_as_wholes() -> None:
    hidden = Redaction({"a": "al", "b": {"c": ["al.pha", "x$"]}})
    assert (
        hidden.text("al, al.pha, x$, alpha, final, al/x$") == "***, ***, ***, alpha, final, ***/***"
    )


def test_names_that_say_secret() -> None:
    names = ["password", "db_password", "token", "credentials", "secret_key", "apikey", "passwd"]
    record = {"a": dict.fromkeys(names, "x"), "b": [{"c": 1}, "https://u:p@h"]}
    assert Redaction().record(record) == {
        "a": dict.fromkeys(names, "***"),
        "b": [{"c": 1}, "https://***@h"],
    }
    telling = {"max_tokens": 3, "tokenizer": "a", "special_tokens": ["b"], "keys": None}
    assert Redaction().record(telling) == telling


def test_what_conf_local_sets(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "parameters_train.yml").write_text(
        "training: {lr: 0.5, eps: {deep: 1}}\nrun: name\n"
    )
    (tmp_path / "sub/globals.yaml").write_text("bucket: depot-7\nflag: true\n")
    (tmp_path / "empty.yml").write_text("")
    hidden = redaction(tmp_path)
    record = {
        "training": {"lr": 0.5, "eps": 3, "seed": 1},
        "run": "name",
        "path": "s3://depot-7/x",
    }
    assert hidden.record(record) == {
        "training": {"lr": "***", "eps": "***", "seed": 1},
        "run": "name",
        "path": "s3://***/x",
    }
    assert redaction(None).record(record) == record


def test_two_files_that_set_things_below_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("store: {pin: 1, deep: {key: one}}\n")
    (tmp_path / "b.yml").write_text("store: {deep: {other: two}}\n")
    record = {"store": {"pin": 1, "deep": {"key": "one", "other": "two"}, "free": 3}}
    assert redaction(tmp_path).record(record) == {
        "store": {"pin": "***", "deep": {"key": "***", "other": "***"}, "free": 3}
    }
