"""Logits to answers."""
