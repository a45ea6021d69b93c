"""What a reader scores on the validation questions.

Oracles: inference on the same questions, the official scorer's report, and the loss of all windows
in one batch.
"""

import numpy as np
import pytest
import torch

from losses import SERIES
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits
from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import predict
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.training.loss import summed_loss
from roberta_squad_pipeline.training.validation import Validation, read_with_loss, score_validation

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.mark.parametrize("rule", ["best_span", "combined"])
def test_scores_are_those_of_inference(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    tiny_squad: SquadDataset,
    inference: InferenceConfig,
    rule: str,
) -> None:
    config = inference.model_copy(update={"null_score": rule})
    validation = Validation(tiny_features, config)
    tiny_reader.train()
    spans, loss = read_with_loss(
        tiny_reader, validation, weights=SERIES, processes=Processes.alone(CPU)
    )
    assert tiny_reader.training
    found = score_validation(validation, spans)

    windows = np.arange(len(tiny_features.window_tokens))
    batch = assemble(tiny_features, windows)
    predictions = list(
        predict(tiny_reader, tiny_features, config, device=CPU, on_windows=lambda _: None)
    )
    with torch.no_grad():
        expected_loss = summed_loss(tiny_reader(batch), batch, SERIES).item() / len(windows)
    gold = tiny_squad.gold
    texts = {p.question_id: p.candidates[0].text for p in predictions}
    logits = {p.question_id: (p.no_answer_logit, p.span_no_answer_logit) for p in predictions}
    head, span = (np.array([logits[name][part] for name in gold]) for part in (0, 1))
    unanswerable = np.array([not answers for answers in gold.values()])
    found_logits = NoAnswerLogits(head, span, unanswerable, rule)
    odds = found_logits.scores_fitted_on(np.ones(len(gold), np.bool_))
    by_id = dict(zip(gold, odds.tolist(), strict=True))
    report = squad_report(gold, texts, no_answer_scores=by_id, threshold=0.0)
    always = squad_report(gold, texts, no_answer_scores=None, threshold=0.0)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert (found.exact, found.f1) == (report["exact"], report["f1"])
    assert found.best_f1 == report["best_f1"]
    assert found.answerable_f1 == pytest.approx(always["HasAns_f1"])
    assert found.no_answer_auc is not None
