"""Exports a reader."""
