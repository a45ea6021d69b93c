"""A trained reader to predictions."""
