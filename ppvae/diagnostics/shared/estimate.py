"""Means over data with their standard errors."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean over data.

    Attributes:
        mean: in nats per datum unless stated otherwise.
        standard_error: of the mean; NaN for a single value.
    """

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """Mean of independent values, ``(n,)``, and its standard error."""
        values = values.double()
        error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(float(values.mean()), error)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference of two independent estimates."""
        error = math.hypot(self.standard_error, other.standard_error)
        return Estimate(self.mean - other.mean, error)
