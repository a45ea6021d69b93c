"""Each family of encoders through the whole chain, from questions to scores.

Oracle: the questions themselves, and for the weights what each was before.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import new_reader
from roberta_squad_pipeline.reader.prediction import predict
from roberta_squad_pipeline.reader.storage import (
    ReaderHeader,
    TrainedReader,
    load_reader,
    save_reader,
)
from roberta_squad_pipeline.reader.tokenization import load_tokenizer
from roberta_squad_pipeline.squad.config import WindowConfig
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.squad.features import Features
from roberta_squad_pipeline.squad.scoring import squad_report
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.loop import train_reader

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


def test_chain(
    family_folder: Path,
    build: Any,
    tiny_squad: SquadDataset,
    window_config: WindowConfig,
    recipe: TrainingConfig,
    tmp_path: Path,
) -> None:
    features: Features = build(tiny_squad, family_folder, window_config)
    questions = {q.id: (p.text, q) for p in tiny_squad.passages for q in p.questions}
    answers = {id_: q.answers[0].text for id_, (_, q) in questions.items() if q.answers}
    assert labelled_texts(features) == answers

    torch.manual_seed(0)
    reader = new_reader(
        ModelConfig(encoder=str(family_folder), dropout=0.1, attention_dropout=0.1),
        max_tokens=window_config.max_tokens,
        vocabulary=features.meta.tokenizer.entries,
    )
    before = {name: weight.detach().clone() for name, weight in reader.named_parameters()}
    losses: list[float] = []
    train_reader(
        reader,
        features,
        recipe.model_copy(update={"updates": 3}),
        processes=Processes.alone(CPU),
        strategy="ddp",
        checkpoints=None,
        stop=StopRequest(),
        on_update=lambda record: losses.append(record.loss),
    )
    assert np.isfinite(losses).all()
    # None is forgotten by the optimiser, and none has no part in the loss.
    after = dict(reader.named_parameters())
    assert [name for name, weight in before.items() if torch.equal(weight, after[name])] == []

    header = ReaderHeader(
        tokenizer=features.meta.tokenizer, windows=features.meta.windows, dropout=0.1
    )
    save_reader(TrainedReader(reader, load_tokenizer(str(family_folder)), header), tmp_path / "r")
    loaded = load_reader(tmp_path / "r")
    batch = assemble(features, np.arange(4))
    with torch.no_grad():
        for mine, again in zip(reader.eval()(batch), loaded.reader.eval()(batch), strict=True):
            assert torch.equal(mine, again)

    predictions = list(
        predict(loaded.reader, features, INFERENCE, device=CPU, on_windows=lambda _: None)
    )
    assert {p.question_id for p in predictions} == set(questions)
    for prediction in predictions:
        passage = questions[prediction.question_id][0]
        for candidate in prediction.candidates:
            assert candidate.text == passage[candidate.char_start : candidate.char_end]
            assert candidate.text == candidate.text.strip() != ""
    report = squad_report(
        tiny_squad.gold,
        {p.question_id: p.candidates[0].text for p in predictions},
        no_answer_scores={p.question_id: p.no_answer_score for p in predictions},
        threshold=0.0,
    )
    assert report["total"] == len(questions)
    assert 0 <= report["exact"] <= report["f1"] <= report["best_f1"] <= 100
