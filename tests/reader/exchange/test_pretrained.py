"""A reader's folder for transformers.

Oracle: transformers' own question-answering models, and the hub's own reader of model cards.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, ModernBertConfig

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.exchange.model_card import model_card
from roberta_squad_pipeline.reader.exchange.pretrained import (
    from_question_answering,
    save_pretrained,
    to_question_answering,
)
from roberta_squad_pipeline.reader.storage import TrainedReader, load_reader

pytestmark = pytest.mark.usefixtures("one_thread")


def test_folder_for_transformers(
    evaluated: TrainedReader, tiny_features: Features, tmp_path: Path
) -> None:
    """The same span logits there; here, the same reader again, its evaluation included."""
    folder = tmp_path / "exported"
    save_pretrained(evaluated, folder, name="exported")
    batch = assemble(tiny_features, np.arange(5))
    with torch.no_grad():
        ours = evaluated.reader.eval()(batch)
        model, report = AutoModelForQuestionAnswering.from_pretrained(
            folder, output_loading_info=True
        )
        types = (
            {"token_type_ids": batch.token_type_ids} if evaluated.reader.takes_token_types else {}
        )
        theirs = model.eval()(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask.long(), **types
        )
        again = load_reader(folder)
        reread = again.reader.eval()(batch)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    tokens = batch.attention_mask
    torch.testing.assert_close(theirs.start_logits[tokens], ours.start_logits[tokens])
    torch.testing.assert_close(theirs.end_logits[tokens], ours.end_logits[tokens])
    for before, after in zip(ours, reread, strict=True):
        assert torch.equal(before, after)
    assert (again.header, again.evaluation) == (evaluated.header, evaluated.evaluation)
    assert model.config.architectures == [type(model).__name__]
    assert len(AutoTokenizer.from_pretrained(folder)) == evaluated.tokenizer.identity.entries

    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == (
        "transformers",
        "question-answering",
    )
    results = {result.metric_name: result for result in card.data.eval_results}
    best = results["best F1, at threshold -0.1"]
    assert (best.metric_value, best.dataset_revision) == (50.0, "0" * 64)
    for signature in (
        "| questions | 8 |",
        "min_window",
        "roberta_squad_pipeline 0.1.0",
        "lr: 3.0e-05",
    ):
        assert signature in card.text


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        ({"threshold": None}, "abstains on every question"),
        ({"threshold": 0.0, "always_answers": True}, "answers every question"),
        ({"threshold": 0.0, "uncalibrated": "too few"}, "0.0 (not tuned: too few)"),
        ({"threshold": -0.1}, "-0.1"),
    ],
)
def test_card_says_when_the_reader_abstains(
    evaluated: TrainedReader, tuned: dict[str, Any], said: str
) -> None:
    assert evaluated.evaluation is not None
    calibration = evaluated.calibration.model_copy(update=tuned)
    evaluation = evaluated.evaluation.model_copy(update={"calibration": calibration})
    card = model_card(replace(evaluated, evaluation=evaluation), name="card")
    assert f"| tuned threshold | {said} |" in card


def test_reader_that_was_not_evaluated(evaluated: TrainedReader, tmp_path: Path) -> None:
    bare = TrainedReader(evaluated.reader, evaluated.tokenizer, evaluated.header)
    save_pretrained(bare, tmp_path / "bare", name="bare")
    assert "was not evaluated" in ModelCard.load(tmp_path / "bare/README.md").text
    assert load_reader(tmp_path / "bare").evaluation is None


def test_names_of_weights_there_and_back(evaluated: TrainedReader) -> None:
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
