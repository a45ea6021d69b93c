"""Kedro's doors: nodes adapt, pipelines wire."""
