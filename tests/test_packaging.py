"""Which packages are asked for. Oracle: the rules of version specifiers, as pip reads them."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = [
    *PROJECT["dependencies"],
    *(asked for extra in PROJECT["optional-dependencies"].values() for asked in extra),
]
OTHERS = [asked for asked in ASKED if Requirement(asked).name != PROJECT["name"]]


@pytest.mark.parametrize("asked", OTHERS)
def test_every_package_has_an_upper_bound(asked: str) -> None:
    """A release of others must not break an installation of this one; .ci/newest lifts them."""
    specifiers = Requirement(asked).specifier
    assert any(one.operator in {"<", "<=", "~=", "=="} for one in specifiers), asked
