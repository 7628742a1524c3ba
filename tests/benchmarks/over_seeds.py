"""Means over seeds."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

__all__ = ["over_seeds"]


def over_seeds(values: Sequence[float]) -> str:
    """The mean, with its standard error if there are several seeds."""
    error = f" +- {stdev(values) / sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{error}"
