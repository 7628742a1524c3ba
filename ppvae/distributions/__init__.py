"""Distributions and divergences that torch and Pyro lack."""
