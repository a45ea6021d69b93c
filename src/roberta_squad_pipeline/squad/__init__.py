"""The task: data, windows, scores, thresholds; no torch, no Kedro."""
