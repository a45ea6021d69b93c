"""What a record must not tell. Oracle: texts by hand, in which the secrets are to be looked for."""

from pathlib import Path

import pytest

from roberta_squad_pipeline.common.redaction import Redaction, redaction


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
        ("mail me@host, why? because", "mail me@host, why? because"),
        ("", ""),
    ],
)
def test_urls(text: str, left: str) -> None:
    assert Redaction().text(text) == left


def test_values_are_hidden_as_wholes() -> None:
    hidden = Redaction(values=frozenset({"al", "al.pha", "x$"}))
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


def test_what_conf_local_sets_and_credentials_hold(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "parameters_train.yml").write_text(
        "training: {lr: 0.5, eps: {deep: 1}}\nrun: name\n"
    )
    (tmp_path / "sub/globals.yaml").write_text("bucket: depot-7\nflag: true\n")
    (tmp_path / "empty.yml").write_text("")
    hidden = redaction(tmp_path, {"store": {"key": "abc", "pin": 1234, "none": None}})
    record = {
        "training": {"lr": 0.5, "eps": 3, "seed": 1},
        "run": "name",
        "path": "s3://depot-7/x",
        "said": "abc and 1234, true",
    }
    assert hidden.record(record) == {
        "training": {"lr": "***", "eps": "***", "seed": 1},
        "run": "name",
        "path": "s3://***/x",
        "said": "*** and ***, true",
    }
    assert redaction(None, {}).record(record) == record


def test_two_files_that_set_things_below_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("store: {pin: 1, deep: {key: one}}\n")
    (tmp_path / "b.yml").write_text("store: {deep: {other: two}}\n")
    record = {"store": {"pin": 1, "deep": {"key": "one", "other": "two"}, "free": 3}}
    assert redaction(tmp_path, {}).record(record) == {
        "store": {"pin": "***", "deep": {"key": "***", "other": "***"}, "free": 3}
    }
