"""Reads a fairseq checkpoint."""
