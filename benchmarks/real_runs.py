"""Runs on the real sample: their data, scores and files, the same for both sides."""

import gzip
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import SHARED, header

from roberta_squad_pipeline.squad.dataset import SquadDataset, read_squad
from roberta_squad_pipeline.squad.scoring import score_questions, scores_in_order, squad_report
from roberta_squad_pipeline.squad.thresholds import best_threshold
from roberta_squad_pipeline.squad.uncertainty import cross_fitted_report

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results" / "real_readers"
ENCODERS = ROOT / "data" / "01_raw" / "encoders"
"""Where `real_readers.py encoders` puts them; git ignores it."""
FOLDS = ROOT / "data" / "01_raw" / "real_readers"
"""Where parts of the training sample are written; git ignores it."""
FOLD_COUNT = 3


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
        path.write_text(json.dumps({"version": content["version"], "data": part}))
    return split


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


def scores(
    dataset: SquadDataset, texts: Mapping[str, str], no_answer_scores: Mapping[str, float]
) -> dict[str, Any]:
    """How well questions were answered, in per cent but for `auc`.

    Args:
        dataset: The gold answers.
        texts: The best text that is not empty, by question id.
        no_answer_scores: High = unanswerable, by question id.

    Returns:
        `answerable_f1` and `answerable_exact` (over answerable questions, always answering),
        `best_f1` (at the threshold that is best for these questions) and `answered` (their share
        at that threshold), `crossfit_f1` and `crossfit_f1_interval`, and `auc`: how probably an
        unanswerable question's no-answer score is above an answerable one's.
    """
    from sklearn.metrics import roc_auc_score

    always = squad_report(
        dataset.gold, texts, no_answer_scores=no_answer_scores, threshold=float("inf")
    )
    crossfit = cross_fitted_report(dataset, texts, no_answer_scores)
    questions = score_questions(dataset.gold, texts)
    odds = scores_in_order(questions.ids, no_answer_scores)
    best = best_threshold(
        questions.f1, odds, answerable=questions.answerable, answered=questions.answered
    )
    return {
        "answerable_f1": always["HasAns_f1"],
        "answerable_exact": always["HasAns_exact"],
        "best_f1": best.score,
        "answered": 100 * best.answers / len(odds),
        "crossfit_f1": crossfit["f1"],
        "crossfit_f1_interval": crossfit["f1_interval"],
        "auc": float(roc_auc_score(~questions.answerable, odds)),
    }


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
    return {
        "command": shlex.join(["python", "benchmarks/real_readers.py", *sys.argv[1:]]),
        "commit": _git("rev-parse", "--short=12", "HEAD")
        + " and changes" * bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": header("torch", "transformers", "accelerate", "roberta_squad_pipeline"),
    }


def keep(
    name: str,
    result: Mapping[str, Any],
    dataset: SquadDataset,
    texts: Mapping[str, str],
    no_answer_scores: Mapping[str, float],
) -> Path:
    """Writes a run's result, and beside it what was answered to every question.

    Args:
        name: Of the files.
        result: Of the run.
        dataset: The questions, in whose order answers are kept.
        texts: The best text that is not empty, by question id.
        no_answer_scores: High = unanswerable, by question id.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    answers = {
        "texts": [texts[question.id] for question in dataset.questions],
        "no_answer_scores": [no_answer_scores[question.id] for question in dataset.questions],
    }
    content = json.dumps(answers, ensure_ascii=False).encode()
    (RESULTS / f"{name}.answers.json.gz").write_bytes(gzip.compress(content, mtime=0))
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def kept_answers(name: str, dataset: SquadDataset) -> tuple[dict[str, str], dict[str, float]]:
    """Reads the texts and no-answer scores that `keep` wrote, by question id."""
    answers = json.loads(gzip.decompress((RESULTS / f"{name}.answers.json.gz").read_bytes()))
    ids = [question.id for question in dataset.questions]
    texts = dict(zip(ids, answers["texts"], strict=True))
    return texts, dict(zip(ids, answers["no_answer_scores"], strict=True))


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 git is the user's own
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
