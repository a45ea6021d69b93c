"""Passages and questions as tokens, windows and labels."""
