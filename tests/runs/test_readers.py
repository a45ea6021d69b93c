"""Whose reader answers, and which runs an ensemble's members are. Oracle: by hand."""

from pathlib import Path

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.runs.readers import member_names, reader_of


def test_what_a_reader_was_exported_to_has_the_run_s_name() -> None:
    assert reader_of("demo") == {"run": "demo"}
    assert reader_of("demo/onnx") == {"run": "demo", "reader": "demo/onnx"}


@pytest.fixture
def readers(tmp_path: Path) -> Path:
    for name in ("a_1/reader.json", "a_2/reader.json", "a_3/reader.json", "_checkpoints/b/1"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    return tmp_path


def test_names_and_patterns_mean_each_run_once(readers: Path) -> None:
    assert member_names(readers, ("a_2", "a_*"), "a_3") == ["a_2", "a_1"]


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (("a_*", "b", "c"), "b, a run that is not finished; c, no run"),
        (("a_1",), "a_1, nothing else"),
        (("a_1", "a_1"), "a_1, nothing else"),
        ((), "nothing"),
    ],
)
def test_runs_that_are_not_there(readers: Path, wanted: tuple[str, ...], got: str) -> None:
    with pytest.raises(InputError) as refused:
        member_names(readers, wanted, "a_3")
    assert refused.value.got == got
    assert "(a_1, a_2, a_3)" in refused.value.expected
