"""What is done with each file: a valid one goes through the whole chain, a broken one is rejected.

Everything happens in this process, with readers that have learnt nothing.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.features.build import build_features
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import predict
from roberta_squad_pipeline.pipelines.validate.nodes import token_limits
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import ReaderModel, new_reader
from roberta_squad_pipeline.squad.dataset import SquadDataset, read_gold, read_squad
from roberta_squad_pipeline.validation.check import validate_files
from roberta_squad_pipeline.validation.report import ValidationReport, stopping, to_markdown
from roberta_squad_pipeline.validation.tokens import TokenLimits

WINDOWS = WindowConfig(order="passage_first", max_tokens=64, max_question_tokens=20, stride=16)
INFERENCE = InferenceConfig(
    batch_windows=64, precision="fp32", max_answer_tokens=8, n_best=3, null_score="best_span"
)


@dataclass(frozen=True, slots=True, repr=False)
class Chain:
    """A small encoder's tokenizer and a reader on it."""

    limits: TokenLimits
    reader: ReaderModel


def make_chain(encoder: Path) -> Chain:
    """A reader with random weights.

    Args:
        encoder: Folder of a small encoder that takes windows of 64 tokens.
    """
    model = ModelConfig(
        start=None,
        encoder=str(encoder),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        reader = new_reader(model, max_tokens=WINDOWS.max_tokens, vocabulary=1)
    return Chain(token_limits(model, WINDOWS, INFERENCE.max_answer_tokens), reader)


def score(path: Path, chain: Chain) -> bool:
    """Takes a valid file through features, predictions and scoring.

    Returns:
        Whether it went through; False if the encoder's tokenizer leaves nothing of a passage, as
        the validation has to say.
    """
    dataset = read_squad(path, on_misaligned="error")
    found = list(stopping(validated(path, chain)))
    assert {finding.kind for finding in found} <= {"no_token"}
    try:
        batch = build_features(
            dataset.passages,
            tokenizer=chain.limits.tokenizer(),
            windows=WINDOWS,
            source=str(path),
        )
    except InputError:
        if not found:
            raise
        return False
    features = Features.from_batch(batch)
    assert not found, found
    texts, odds = _predictions(dataset, features, chain.reader)
    report = squad_report(dataset.gold, texts, no_answer_scores=odds, threshold=0.0)
    assert report["total"] == len(dataset.questions)
    return True


def _predictions(
    dataset: SquadDataset, features: Features, reader: ReaderModel
) -> tuple[dict[str, str], dict[str, float]]:
    predictions = list(
        predict(reader, features, INFERENCE, device=torch.device("cpu"), on_windows=lambda _: None)
    )
    texts = {p.question_id: p.candidates[0].text for p in predictions}
    for passage in dataset.passages:
        for question in passage.questions:
            assert texts[question.id], question
            assert texts[question.id] in passage.text, question
    return texts, {p.question_id: p.no_answer_logit for p in predictions}


def rejection(path: Path, chain: Chain) -> InputError | None:
    """What a broken file is rejected with, the same wherever it is read; None if it is not.

    No other error comes out of reading it, mending it, scoring with it or validating it.
    """
    for mend in ("drop", "repair"):
        with suppress(InputError):
            read_squad(path, on_misaligned=mend)
    with suppress(InputError):
        read_gold(path)
    error = None
    try:
        read_squad(path, on_misaligned="error")
    except InputError as caught:
        error = caught
    found = list(stopping(validated(path, chain)))
    assert bool(found) == (error is not None), found
    for message in [error] if error else []:
        assert message.where.startswith(str(path)), message
        assert all((message.got, message.expected, message.remedy)), message
        assert str(message).isprintable(), message
        assert len(str(message)) < 1000, message
        assert {place.where for finding in found for place in finding.places} >= {message.where}
    return error


def validated(path: Path, chain: Chain) -> ValidationReport:
    """A file's validation, after its report was written."""
    report = validate_files({"train": path}, on_misaligned="error", limits=chain.limits)
    to_markdown(report).encode()
    report.model_dump_json().encode()
    return report
