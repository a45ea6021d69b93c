"""Runs on the real sample: their data, scores and files, the same for both sides."""

import gzip
import hashlib
import json
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import SHARED, header
from roberta_squad_pipeline.evaluation.no_answer import NoAnswerLogits, NullScore
from roberta_squad_pipeline.evaluation.scoring import (
    QuestionScores,
    score_questions,
    scores_in_order,
    squad_report,
)
from roberta_squad_pipeline.evaluation.uncertainty import cross_fitted_report, in_first_half
from roberta_squad_pipeline.squad.dataset import SquadDataset, read_squad

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results" / "real_readers"
"""A folder for each device that runs were made on."""
ENCODERS = ROOT / "data" / "01_raw" / "encoders"
"""Where `real_readers.py encoders` puts them; git ignores it."""
FOLDS = ROOT / "data" / "01_raw" / "real_readers"
"""Where parts of the training sample are written; git ignores it."""
UNFINISHED = FOLDS / "unfinished"
"""Where checkpoints of the recipe's runs lie until they are finished."""
FOLD_COUNT = 3
DOCUMENT_PASSAGES = 5
"""Passages of an article that are joined into a document: some 1,000 tokens."""


@dataclass(frozen=True)
class Split:
    """The files of a run.

    Args:
        train: To learn from.
        dev: To be scored on.
    """

    train: Path
    dev: Path


def sample_split(fold: int | None) -> Split:
    """The sample's two files, or the training file cut in two by whole articles.

    Settings are chosen on folds, so that the dev file is in no choice. Articles go by their titles'
    order, every third to a fold.

    Args:
        fold: From 0; None is the sample as it is.
    """
    sample = Split(*(SHARED / "squad" / f"{split}-sample.json" for split in ("train", "dev")))
    if fold is None:
        return sample
    content = json.loads(sample.train.read_bytes())
    articles = sorted(content["data"], key=lambda article: article["title"])
    FOLDS.mkdir(parents=True, exist_ok=True)
    split = Split(FOLDS / f"fold_{fold}_train.json", FOLDS / f"fold_{fold}_dev.json")
    for path, held_out in ((split.train, False), (split.dev, True)):
        part = [
            article
            for index, article in enumerate(articles)
            if (index % FOLD_COUNT == fold) is held_out
        ]
        _write(path, {"version": content["version"], "data": part})
    return split


def joined(split: Split, parts: Collection[str]) -> Split:
    """Joins passages of an article that follow each other into documents.

    Args:
        split: The files of single passages.
        parts: Which of `train` and `dev` are joined.
    """
    return Split(
        _joined(split.train) if "train" in parts else split.train,
        _joined(split.dev) if "dev" in parts else split.dev,
    )


def _joined(path: Path) -> Path:
    content = json.loads(path.read_bytes())
    for article in content["data"]:
        passages = article["paragraphs"]
        article["paragraphs"] = [
            _document(passages[first : first + DOCUMENT_PASSAGES])
            for first in range(0, len(passages), DOCUMENT_PASSAGES)
        ]
    FOLDS.mkdir(parents=True, exist_ok=True)
    written = FOLDS / f"{path.stem}_documents.json"
    _write(written, content)
    return written


def _write(path: Path, content: object) -> None:
    text = json.dumps(content)
    # Another run may be reading it.
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _document(passages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {"context": "", "qas": []}
    for passage in passages:
        before = document["context"] and document["context"] + "\n\n"
        for question in passage["qas"]:
            for answer in question["answers"] + question.get("plausible_answers", []):
                answer["answer_start"] += len(before)
        document["context"] = before + passage["context"]
        document["qas"] += passage["qas"]
    return document


def read_sample(path: Path) -> SquadDataset:
    """Reads a file of the sample."""
    return read_squad(path, on_misaligned="error")


def encoder_folder(name: str) -> Path:
    """The folder of an encoder.

    Raises:
        SystemExit: It has not been fetched.
    """
    folder = ENCODERS / name
    if not (folder / "config.json").exists():
        raise SystemExit(
            f"{name} is not there; fetch it: python benchmarks/real_readers.py encoders"
        )
    return folder


@dataclass(frozen=True)
class Answered:
    """What was answered to every question of a data set.

    Args:
        texts: The best text that is not empty, by question id.
        no_answer_scores: High = unanswerable, by question id.
        logits: What no-answer scores of this project were made of, `head` and `span` by question
            id; empty for the recipe's.
        null_score: How they were made.
    """

    texts: dict[str, str]
    no_answer_scores: dict[str, float]
    logits: dict[str, dict[str, float]] = field(default_factory=dict)
    null_score: NullScore = "best_span"


def scores(dataset: SquadDataset, answered: Answered) -> dict[str, Any]:
    """How well questions were answered, in per cent but for areas under curves.

    Args:
        dataset: The gold answers.
        answered: To its questions.

    Returns:
        `answerable_f1` and `answerable_exact` (over answerable questions, always answering),
        `best_f1` (at the threshold that is best for these questions) and `answered` (their share
        at that threshold), `crossfit_f1` and `crossfit_f1_interval`; `auc`: how probably an
        unanswerable question's no-answer score is above an answerable one's, and `crossfit_auc`,
        the mean of both halves' with scores that were fitted on the other half, where they are
        fitted; and likewise of the logits that no-answer scores were made of.
    """
    from sklearn.metrics import roc_auc_score

    questions = score_questions(dataset.gold, answered.texts)
    odds = scores_in_order(questions.ids, answered.no_answer_scores)
    unanswerable = ~questions.answerable
    numbers = [n for n, passage in enumerate(dataset.passages) for _ in passage.questions]
    first = in_first_half(np.array(numbers))
    fitted_on, logits = None, None
    if answered.logits:
        head, span = (
            np.array([answered.logits[name][part] for name in questions.ids])
            for part in ("head", "span")
        )
        logits = NoAnswerLogits(head, span, unanswerable, answered.null_score)
        fitted_on = logits.scores_fitted_on
    crossfit = cross_fitted_report(questions, odds, np.array(numbers), fitted_on)
    always = squad_report(dataset.gold, answered.texts, no_answer_scores=None, threshold=0.0)
    best = questions.best_threshold(questions.f1, odds)
    halves = [
        roc_auc_score(unanswerable[half], (fitted_on(~half) if fitted_on else odds)[half])
        for half in (first, ~first)
    ]
    result = {
        "answerable_f1": always["HasAns_f1"],
        "answerable_exact": always["HasAns_exact"],
        "best_f1": best.score,
        "answered": 100 * float((odds <= best.threshold).mean()),
        "crossfit_f1": crossfit["f1"],
        "crossfit_f1_interval": crossfit["f1_interval"],
        "auc": float(roc_auc_score(unanswerable, odds)),
        "crossfit_auc": float(statistics.mean(halves)),
    }
    if logits:
        result |= {
            f"{name}_auc": float(roc_auc_score(unanswerable, values))
            for name, values in (("head", logits.head), ("span", logits.span))
        }
    return result


def device_name() -> str:
    """What trains: a GPU's name, or cpu."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def data_record(split: Split) -> dict[str, dict[str, Any]]:
    """Names, checksums and sizes of a run's files."""
    return {
        part: {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "questions": len(read_sample(path).questions),
        }
        for part, path in (("train", split.train), ("dev", split.dev))
    }


def surroundings() -> dict[str, str]:
    """Command, commit, machine and versions, to be looked at before a run begins."""
    # Of files elsewhere the name is enough: where they lie says nothing to others.
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return {
        "command": shlex.join(["python", "benchmarks/real_readers.py", *words]),
        "commit": _git("rev-parse", "--short=12", "HEAD")
        + " and changes" * bool(_git("status", "--porcelain", "--untracked-files=no")),
        "device": device_name(),
        "machine": header("torch", "transformers", "accelerate", "roberta_squad_pipeline"),
    }


def keep(name: str, result: Mapping[str, Any], dataset: SquadDataset, answered: Answered) -> Path:
    """Writes a run's result, and beside it what every question scored.

    The answers themselves are parts of the sample's passages, which are not the project's to hand
    on, so that their scores are kept instead.

    Args:
        name: Of the files.
        result: Of the run.
        dataset: The questions, in whose order scores are kept.
        answered: To its questions.
    """
    folder = RESULTS / re.sub(r"\W+", "-", result["device"].lower())
    folder.mkdir(parents=True, exist_ok=True)
    questions = score_questions(dataset.gold, answered.texts)
    content = {
        "null_score": answered.null_score,
        "exact": questions.exact.astype(int).tolist(),
        "f1": [_short(f1) for f1 in questions.f1.tolist()],
        "no_answer_scores": [_short(answered.no_answer_scores[name]) for name in questions.ids],
    }
    if answered.logits:
        for part in ("head", "span"):
            content[part] = [_short(answered.logits[question][part]) for question in questions.ids]
    written = json.dumps(content).encode()
    (folder / f"{name}.questions.json.gz").write_bytes(gzip.compress(written, mtime=0))
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def kept_scores(path: Path, dataset: SquadDataset) -> tuple[QuestionScores, NDArray[np.float64]]:
    """Reads what `keep` wrote of every question: its scores and its no-answer score.

    Args:
        path: Of the run's result.
        dataset: Its questions.
    """
    content = json.loads(gzip.decompress(path.with_suffix(".questions.json.gz").read_bytes()))
    gold = dataset.gold
    scores = QuestionScores(
        ids=tuple(gold),
        exact=np.array(content["exact"], np.float64),
        f1=np.array(content["f1"], np.float64),
        answerable=np.array([bool(texts) for texts in gold.values()]),
        # Both sides keep the best text that is not empty.
        answered=np.ones(len(gold), np.bool_),
    )
    return scores, np.array(content["no_answer_scores"], np.float64)


def _short(score: float) -> float:
    """As exact as fp32, in fewer characters."""
    return float(f"{score:.8g}")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 git is the user's own
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
