"""Predictions and gold answers to scores, thresholds and probabilities."""
