"""Readers in other programs' formats."""
