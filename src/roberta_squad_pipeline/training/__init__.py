"""Trains readers."""
