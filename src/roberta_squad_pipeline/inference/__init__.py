"""Turns logits into answers."""
