"""Which values of the data has a distribution no probability for?"""

from torch import Tensor
from torch.distributions import constraints

__all__ = ["first_outside_support"]


def first_outside_support(
    support: constraints.Constraint, x: Tensor, mask: Tensor | None = None
) -> tuple[int, float] | None:
    """Row and value of the first element of ``x`` that ``support`` does not hold, if there is one.

    Elements that were not observed, where ``mask`` is not True, may be anything.

    Shapes: ``x`` is ``(batch, ...)``, and ``mask`` like it.
    """
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    outside = ~support.check(x)
    if mask is not None and mask.shape == outside.shape:
        outside = outside & mask
    if not outside.any():
        return None
    where = outside.nonzero()[0]
    return int(where[0]), float(x[tuple(where)])
