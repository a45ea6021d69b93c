"""Kedro runs of this project: parameters, experiments, sessions, sweeps."""
