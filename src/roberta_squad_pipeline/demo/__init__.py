"""The embedded data set: an invented world, questions on it, and an encoder for its prose."""

import shutil
from pathlib import Path

from roberta_squad_pipeline.common.files import written_atomically

ENCODER = Path("data/01_raw/demo_encoder")
"""The embedded encoder, in the project's folder."""

PACKAGED_ENCODER = Path(__file__).with_name("encoder")
"""The same as it is installed."""


def unpack_encoder() -> None:
    """Puts the embedded encoder where conf/ looks for it, unless it is there."""
    if not ENCODER.exists():
        with written_atomically(ENCODER) as temp:
            temp.mkdir()
            # copytree would wrap the error of a full disk in one that tells the system's no more.
            for file in PACKAGED_ENCODER.iterdir():
                shutil.copyfile(file, temp / file.name)
