"""How a reader is trained."""
