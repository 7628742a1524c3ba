"""Elements that are constant in the training rows, which a comparison of densities leaves out.

The density of what never varies has no bound: a baseline that takes each element apart may put all
its mass there, and wins as many nats as its least variance allows. That says nothing of the data.
So these elements are left out on both sides: of the rows that baselines are fitted to and scored
on, and of log p(x | z) in the fit's importance weights.
"""

from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.baselines.elementwise import Elementwise
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.programs.sites import base


def varying(train: Matrix) -> Tensor:
    """Which elements vary where they were observed: ``(elements,)``, bool."""
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
        kept: which elements count, like one datum, bool.
    """

    def __init__(self, site: str, kept: Tensor) -> None:
        def of(fn: Any, value: Tensor) -> Tensor:
            every: Tensor = fn.log_prob(value)
            return every.where(kept.to(value.device), 0)

        super().__init__(site, of)
