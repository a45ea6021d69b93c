"""Readers in the formats of other programs."""
