"""Makes the golden reader again: `python tests/golden/make.py`.

A tiny encoder with random weights goes through the whole chain on squad.json, trained for three
updates, and what comes of it is kept here: the reader, its features and its predictions. Only a
release that means to change them makes them again.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

GOLDEN = Path(__file__).parent
sys.path.insert(0, str(GOLDEN.parent))
from spans import read_spans  # noqa: E402

ROOT = GOLDEN.parents[1]
POSITIONS = 64
SMALLEST_GAP = 1e-2
"""Between the scores of a question's two best spans: rounding must not choose between them."""

PARAMS = {
    "run": "golden",
    "data.train": "squad.json",
    "data.dev": "squad.json",
    "model.encoder": "encoder",
    "features.max_tokens": POSITIONS,
    "features.max_question_tokens": 20,
    "features.stride": 16,
    "training.updates": 3,
    "training.warmup_updates": 1,
    "training.batch_size": 4,
    "training.micro_batch": 4,
    "training.lr": 1e-3,
    "inference.batch_windows": 4,
    "inference.n_best": 2,
}


def make_encoder(folder: Path) -> None:
    """A one-layer RoBERTa with random weights and a byte-level BPE of its own."""
    squad = json.loads((GOLDEN / "squad.json").read_text(encoding="utf-8"))
    texts = [
        text
        for article in squad["data"]
        for passage in article["paragraphs"]
        for text in (passage["context"], *(one["question"] for one in passage["qas"]))
    ]
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(texts, vocab_size=300, min_frequency=2, special_tokens=special)
    folder.mkdir()
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        type_vocab_size=1,
        max_position_embeddings=POSITIONS + 2,
    )
    RobertaModel(config).save_pretrained(folder)


def run_chain(project: Path) -> None:
    """Runs the project's own pipelines in a folder of their own."""
    for name in ("pyproject.toml", "conf", ".telemetry"):
        (project / name).symlink_to(ROOT / name)
    (project / "src").mkdir()
    shutil.copy(GOLDEN / "squad.json", project)
    make_encoder(project / "encoder")
    given = ",".join(f"{name}={value}" for name, value in PARAMS.items())
    command = [sys.executable, "-m", "kedro", "run", "--env", "base", "--params", given]
    subprocess.run(command, cwd=project, check=True)


def check_gaps(nbest: dict[str, list[dict[str, Any]]]) -> None:
    """Every question has one best span."""
    for question, spans in nbest.items():
        gap = spans[0]["score"] - spans[1]["score"]
        if gap < SMALLEST_GAP:
            raise SystemExit(f"question {question}: a gap of {gap}; take another seed")


def main() -> None:
    """Makes everything, then puts it in the place of what was there."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        run_chain(project)
        outputs = project / "data/07_model_output/golden"
        nbest = read_spans(outputs)
        check_gaps(nbest)
        (GOLDEN / "nbest.json").write_text(json.dumps(nbest, indent=1, ensure_ascii=False))
        shutil.rmtree(GOLDEN / "reader", ignore_errors=True)
        shutil.copytree(project / "data/06_models/golden", GOLDEN / "reader")
        shutil.copy(project / "data/04_feature/golden/dev.arrow", GOLDEN / "features.arrow")
        for path in (
            *(outputs / name for name in ("predictions.json", "null_odds.json")),
            project / "data/08_reporting/golden/metrics.json",
        ):
            shutil.copy(path, GOLDEN)


if __name__ == "__main__":
    main()
