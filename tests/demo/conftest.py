"""Both splits as the embedded experiment has them."""

from typing import Any

import pytest

from roberta_squad_pipeline.demo.generator import generate


@pytest.fixture(scope="session")
def train() -> dict[str, Any]:
    return generate("train", passages=600, seed=1)


@pytest.fixture(scope="session")
def dev() -> dict[str, Any]:
    return generate("dev", passages=100, seed=2)
