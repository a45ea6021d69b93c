"""The README is held against the project that it describes."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_two_commands_are_there() -> None:
    """Oracle: the commands that the project promises."""
    lines = README.splitlines()
    assert "pip install -e . && kedro run" in lines
    assert 'pip install -e ".[dev]" && pytest' in lines


def test_every_parameter_that_is_named_exists() -> None:
    from roberta_squad_pipeline.runs.parameters import Parameters

    for given in re.findall(r"--params ([^\s`]+)", README):
        for name in re.findall(r"(?:^|,)([a-z_.]+)=", given):
            section = Parameters
            for part in name.split("."):
                assert part in section.model_fields, name
                section = section.model_fields[part].annotation  # type: ignore[assignment]
