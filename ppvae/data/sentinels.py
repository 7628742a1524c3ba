"""Numbers that may stand for missing cells, such as -999."""

import numpy as np
from numpy.typing import NDArray


def sentinel(values: NDArray[np.float64]) -> tuple[float, int] | None:
    """The smallest or largest value and how often it occurs, if it may mean "missing".

    It occurs more than once, and is farther from all others than these are from each other.
    """
    for value in (values.min(), values.max()):
        others = values[values != value]
        count = values.size - others.size
        if count > 1 and len(others) and np.abs(others - value).min() > np.ptp(others) > 0:
            return float(value), count
    return None
