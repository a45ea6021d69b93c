"""Tracked runs to one table."""
