"""The embedded data set: an invented world, questions on it, and an encoder for its prose."""

from pathlib import Path

ENCODER = Path("data/01_raw/demo_encoder")
"""The embedded encoder, in the project's folder."""
