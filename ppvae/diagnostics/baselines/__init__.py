"""Baselines: simple models of x, fitted to the same rows, that any fit should beat."""
