"""Distributions, and divergences between them, that torch and Pyro lack."""
