"""Each family of encoders through the whole chain, from questions to scores.

Oracle: the questions themselves, and for the weights what each was before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.inference.prediction import predict
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import new_reader
from roberta_squad_pipeline.reader.storage import (
    ReaderHeader,
    TrainedReader,
    load_reader,
    save_reader,
)
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.loop import fit_reader

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
INFERENCE = InferenceConfig(
    batch_windows=4, precision="fp32", max_answer_tokens=12, n_best=5, null_score="best_span"
)


def labelled_texts(features: Features) -> dict[str, str]:
    """What the label of each question's first answered window spells."""
    texts: dict[str, str] = {}
    windows, passages = features.windows, features.passages
    for window in np.flatnonzero(windows.start > 0):
        row = windows.question[window]
        passage = features.question_passage[row]
        first = windows.first[window] - 1
        start = passages.char_start[passage][first + windows.start[window]]
        end = passages.char_end[passage][first + windows.end[window]]
        texts[features.question_ids[int(row)].as_py()] = str(features.passage_texts[int(passage)])[
            start:end
        ]
    return texts


@dataclass
class Chain:
    """What came of a family's encoder on the way from questions to a reader."""

    questions: SquadDataset
    features: Features
    before: dict[str, torch.Tensor]
    losses: list[float]
    trained: TrainedReader
    loaded: TrainedReader


@pytest.fixture(scope="module")
def chain(
    family_folder: Path,
    build: Any,
    tiny_squad: SquadDataset,
    window_config: WindowConfig,
    recipe: TrainingConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Chain:
    features: Features = build(tiny_squad, family_folder, window_config)
    torch.manual_seed(0)
    reader = new_reader(
        ModelConfig(
            start=None,
            encoder=str(family_folder),
            dropout=0.1,
            attention_dropout=0.1,
            answerability_input="first_token",
        ),
        max_tokens=window_config.max_tokens,
        vocabulary=features.meta.tokenizer.entries,
    )
    before = {name: weight.detach().clone() for name, weight in reader.named_parameters()}
    losses: list[float] = []
    fit_reader(
        reader,
        features,
        recipe.model_copy(update={"updates": 3}),
        validation=None,
        processes=Processes.alone(CPU),
        strategy="ddp",
        checkpoints=None,
        stop=StopRequest(),
        on_record=lambda record: losses.append(record.loss),
    )
    header = ReaderHeader(
        tokenizer=features.meta.tokenizer,
        windows=features.meta.windows,
        inference=INFERENCE,
        dropout=0.1,
        answerability_input="first_token",
        recipe={},
    )
    trained = TrainedReader(reader, PassageTokenizer.load(str(family_folder)), header)
    folder = tmp_path_factory.mktemp("chain") / "reader"
    save_reader(trained, folder)
    return Chain(tiny_squad, features, before, losses, trained, load_reader(folder))


def test_labels_spell_the_answers(chain: Chain) -> None:
    answers = {q.id: q.answers[0].text for q in chain.questions.questions if q.answers}
    assert labelled_texts(chain.features) == answers


def test_every_parameter_learns(chain: Chain) -> None:
    """None is forgotten by the optimiser, and none has no part in the loss."""
    assert np.isfinite(chain.losses).all()
    after = dict(chain.trained.reader.named_parameters())
    assert [name for name, old in chain.before.items() if torch.equal(old, after[name])] == []


def test_loaded_reader_reads_like_the_saved_one(chain: Chain) -> None:
    batch = assemble(chain.features, np.arange(4))
    with torch.no_grad():
        outputs = [each.reader.eval()(batch) for each in (chain.trained, chain.loaded)]
    for mine, again in zip(*outputs, strict=True):
        assert torch.equal(mine, again)


def test_predictions_are_parts_of_their_passages_and_are_scored(chain: Chain) -> None:
    passage_of = {q.id: p.text for p in chain.questions.passages for q in p.questions}
    reader = chain.loaded.reader
    predictions = list(
        predict(reader, chain.features, INFERENCE, device=CPU, on_windows=lambda _: None)
    )
    assert {p.question_id for p in predictions} == set(passage_of)
    for prediction in predictions:
        passage = passage_of[prediction.question_id]
        for candidate in prediction.candidates:
            assert candidate.text == passage[candidate.char_start : candidate.char_end]
            assert candidate.text == candidate.text.strip() != ""
    report = squad_report(
        chain.questions.gold,
        {p.question_id: p.candidates[0].text for p in predictions},
        no_answer_scores={p.question_id: p.no_answer_logit for p in predictions},
        threshold=0.0,
    )
    assert report["total"] == len(passage_of)
    # Both are sums of the same scores, but in different orders.
    rounding = 1e-9
    assert 0 <= report["exact"] <= report["f1"] <= report["best_f1"] + rounding
    assert report["best_f1"] <= 100 + rounding


def test_transformers_loads_it_with_the_same_span_logits(chain: Chain, tmp_path: Path) -> None:
    """But for ModernBERT, whose question-answering model has a layer more."""
    folder, model = tmp_path / "saved", chain.loaded.reader.eval()
    if model.encoder.config.model_type == "modernbert":
        with pytest.raises(InputError, match="ModernBertForQuestionAnswering"):
            Reader(chain.loaded).save_pretrained(folder)
        return
    Reader(chain.loaded).save_pretrained(folder)
    theirs = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    batch = assemble(chain.features, np.array([0]))
    types = {"token_type_ids": batch.token_type_ids} if model.takes_token_types else {}
    with torch.no_grad():
        expected = theirs(input_ids=batch.input_ids, **types)
        mine = model(batch)
    torch.testing.assert_close(mine.start_logits, expected.start_logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(mine.end_logits, expected.end_logits, rtol=0, atol=1e-4)
