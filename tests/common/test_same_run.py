"""What makes two runs the same.

Oracle: a copy of the package in which one file is changed, and folders of weights made by hand.
"""

import shutil
from pathlib import Path

import pytest

from roberta_squad_pipeline.common.same_run import (
    PACKAGE,
    code_sha256,
    differences,
    digest,
    weights_of,
)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ("training/step.py", False),
        ("features/windows.py", False),
        ("evaluation/no_answer.py", False),
        ("demo/phrases.yml", False),
        ("pipelines/train/nodes.py", False),
        ("pipelines/evaluate/nodes.py", False),
        ("evaluation/report/figures.py", True),
        ("pipelines/evaluate/report.py", True),
        ("pipelines/export_onnx/nodes.py", True),
        ("tracking/spool.py", True),
        ("runs/hooks.py", True),
        ("cli.py", True),
    ],
)
def test_code_that_results_depend_on(tmp_path: Path, changed: str, same: bool) -> None:
    copy = tmp_path / "package"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert code_sha256(copy) == code_sha256(PACKAGE)
    other = tmp_path / "other"
    shutil.copytree(copy, other)
    with (other / changed).open("a") as file:
        file.write("# more\n")
    assert (code_sha256(other) == code_sha256(copy)) is same


def test_every_room_is_there() -> None:
    """A room that is renamed must not fall out of what counts."""
    from roberta_squad_pipeline.common import same_run

    for room in (*same_run._ROOMS, *same_run._SHOWING):
        path = PACKAGE / room
        assert path.is_file() or list(path.glob("*.py")), room


def test_weights_count_by_content(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    one = weights_of(str(tmp_path))
    assert list(one) == ["model.safetensors"]
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert weights_of(str(tmp_path / "copy")) == one
    (tmp_path / "copy/model.safetensors").write_bytes(b"two")
    assert weights_of(str(tmp_path / "copy")) != one
    assert weights_of("FacebookAI/roberta-large") == {}


def test_descriptions_have_one_name_whatever_their_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


def test_differences() -> None:
    there = {"lr": 1, "data": {"train": "a", "dev": "b"}, "only": None, "code": "0a" * 32}
    here = {"lr": 2, "data": {"train": "a", "dev": "c"}, "new": 3, "code": "1b" * 32}
    assert list(differences(there, here)) == [
        "code: 0a0a0a0a0a0a there, 1b1b1b1b1b1b here",
        "data.dev: b there, c here",
        "lr: 1 there, 2 here",
        "new: None there, 3 here",
    ]
