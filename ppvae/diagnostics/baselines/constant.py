"""Constant elements of the training rows, which are left out of comparisons of densities.

The density of a constant is unbounded: an element-wise baseline may put all its mass there, and
gain as many nats as its minimum variance allows, which is meaningless. So these elements are left
out on both sides: in the rows of baselines, and in log p(x | z) of the fit's importance weights.
"""

from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.elementwise import Elementwise
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.programs.sites import base


def varying(train: Matrix) -> Tensor:
    """Elements whose observed values vary: ``(elements,)``, bool."""
    seen = train.weight.bool()
    least = train.x.masked_fill(~seen, torch.inf).amin(0)
    return train.x.masked_fill(~seen, -torch.inf).amax(0) > least


def has_elements(fn: Any) -> bool:
    """Whether a distribution's elements are independent, so that some can be left out."""
    return not base(fn).event_shape


class LeavingOut(Elementwise):
    """A handler under which a site's density is that of some of its elements.

    Args:
        site: the site.
        kept: the elements to keep, shaped like one datum, bool.
    """

    def __init__(self, site: str, kept: Tensor) -> None:
        def of(fn: Any, value: Tensor) -> Tensor:
            every: Tensor = fn.log_prob(value)
            return every.where(kept.to(value.device), 0)

        super().__init__(site, of)
