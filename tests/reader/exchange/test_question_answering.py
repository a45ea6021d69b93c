"""Names of weights, here and in transformers.

Oracle: transformers' own models of the same encoder.
"""

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, ModernBertConfig

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.exchange.question_answering import (
    from_question_answering,
    to_question_answering,
)
from roberta_squad_pipeline.reader.storage import TrainedReader


def test_there_and_back(evaluated: TrainedReader) -> None:
    """transformers takes them all, and what comes back is what went."""
    own = evaluated.reader.state_dict()
    model = AutoModelForQuestionAnswering.from_config(evaluated.reader.encoder.config)
    theirs, head = to_question_answering(own, model)
    model.load_state_dict(theirs, strict=True)
    back = from_question_answering(theirs, head)
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)


def test_encoder_whose_model_has_more_between(evaluated: TrainedReader) -> None:
    """ModernBERT's has a layer of its own before the logits."""
    config = ModernBertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0
    )
    model = AutoModelForQuestionAnswering.from_config(config)
    with pytest.raises(InputError, match=r"ModernBertForQuestionAnswering.*differs in"):
        to_question_answering(evaluated.reader.state_dict(), model)
