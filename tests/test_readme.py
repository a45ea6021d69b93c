"""The README is held against the project that it describes."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_path_of_the_file_tree_exists() -> None:
    tree = README.split("<!-- file tree -->")[1].split("```")[1]
    paths = []
    folders: list[str] = []
    for line in tree.strip("\n").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name.rstrip("/")]
        paths.append(ROOT.joinpath(*folders))
    assert len(paths) > 20
    assert [str(path) for path in paths if not path.exists()] == []


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
    from roberta_squad_pipeline.parameters import Parameters

    for given in re.findall(r"--params ([^\s`]+)", README):
        for name in re.findall(r"(?:^|,)([a-z_.]+)=", given):
            section = Parameters
            for part in name.split("."):
                assert part in section.model_fields, name
                section = section.model_fields[part].annotation  # type: ignore[assignment]
