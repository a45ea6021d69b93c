"""What a reader is made of is said once.

Oracle: the two parameters, of which one has to be given.
"""

import pytest
from pydantic import ValidationError

from roberta_squad_pipeline.reader.config import ModelConfig


def model(start: str | None, encoder: str | None) -> ModelConfig:
    return ModelConfig(
        start=start,
        encoder=encoder,
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )


@pytest.mark.parametrize(
    ("start", "encoder", "said"),
    [
        ("mine", "bert", "model.encoder: got bert, and model.start=mine; expected one of them"),
        (None, None, "model.encoder: got nothing, and no model.start either"),
    ],
)
def test_exactly_one_source(start: str | None, encoder: str | None, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model(start, encoder)
    assert said in str(caught.value)


def test_source_with_the_parameter_that_says_it() -> None:
    assert model("mine", None).source_parameter == "model.start=mine"
    assert model(None, "bert").source_parameter == "model.encoder=bert"
