"""How sure is a mean over data? Its standard error."""

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Figure", "figure"]


@dataclass(frozen=True)
class Figure:
    """A mean over data.

    Attributes:
        mean: in nats per datum, where nothing else is said.
        standard_error: of the mean; not a number where there is one value only.
    """

    mean: float
    standard_error: float


def figure(values: Tensor) -> Figure:
    """Mean of independent values, ``(n,)``, and its standard error."""
    values = values.double()
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Figure(float(values.mean()), error)
