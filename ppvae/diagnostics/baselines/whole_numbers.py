"""Probabilities of integers under a density, to compare with likelihoods of counts.

A continuous likelihood gives an integer n the density p(n), which is not comparable with a
probability of counts. Its probability is P(n - 1/2 < x < n + 1/2); for a normal, Phi(n + 1/2) -
Phi(n - 1/2). If the data were scaled, half a step is 1/2 divided by the scale.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Scaling
from ppvae.diagnostics.baselines.elementwise import Elementwise, by_elements
from ppvae.diagnostics.baselines.rows import Matrix
from ppvae.errors import InputError

ULPS = 8
"""Maximum deviation from an integer, in roundings to single precision, due to scaling."""

MOST = 0.1
"""Maximum deviation from an integer, whatever its size."""

LEAST = 1e-9
"""Difference of two values of a distribution function below which rounding dominates."""

EPS = torch.finfo(torch.float32).eps

NODES = 32
"""Nodes of the quadrature over a step."""


@dataclass(frozen=True)
class Steps:
    """How x is made from integers: raw = x * scale + loc.

    Attributes:
        loc: of each element, or one for all.
        scale: of each element, or one for all.
    """

    loc: Tensor
    scale: Tensor

    def raw(self, rows: Matrix) -> Matrix:
        """The rows as integers."""
        raw = (rows.x.double() * self.scale + self.loc).round().float()
        return rows.of(raw if rows.observed is None else raw.where(rows.observed, 0))

    def some(self, elements: Tensor) -> "Steps":
        """The steps of some of the elements, by a bool per element."""
        loc, scale = (
            each[elements] if each.numel() > 1 else each for each in (self.loc, self.scale)
        )
        return Steps(loc, scale)

    @property
    def half(self) -> Tensor:
        """Half of a step, in units of x."""
        return 0.5 / self.scale


def steps_of(scaling: Scaling, *parts: Matrix) -> Steps | None:
    """How x is made from integers; ``None`` if some value is not."""
    steps = _of(scaling)
    for rows in parts:
        raw = rows.x.double() * steps.scale + steps.loc
        off = (raw - raw.round()).abs() * rows.weight
        # x has one rounding, of its size; scaling had others, of the size of loc.
        size = (raw - steps.loc).abs() + steps.loc.abs() + 1
        if bool((off > (ULPS * EPS * size).clamp(max=MOST)).any()):
            return None
    return steps


def _of(scaling: Scaling) -> Steps:
    scale = (255.0,) if scaling.kind == "8-bit" else scaling.scale or (1.0,)
    loc = scaling.loc or (0.0,)
    return Steps(torch.tensor(loc).double(), torch.tensor(scale).double())


class Binning(Elementwise):
    """A handler under which a site's density is the probability of the step around its value.

    Args:
        site: the site.
        half: half of a step, per element of x or one for all.
        shape: shape of one datum.
        kept: the elements to keep, shaped like one datum, bool; ``None``: all.
    """

    def __init__(
        self, site: str, half: Tensor, shape: tuple[int, ...], kept: Tensor | None = None
    ) -> None:
        half = half.reshape(shape) if half.numel() > 1 else half.reshape(())

        def of(fn: Any, value: Tensor) -> Tensor:
            mass = _of_elements(fn, value.double(), half.to(value.device).double())
            return mass if kept is None else mass.where(kept.to(value.device), 0)

        super().__init__(site, of)


def log_mass(fn: Any, value: Tensor, half: Tensor) -> Tensor:
    """Log P(value - half < x < value + half), as ``fn.log_prob(value)`` is the log-density.

    Raises:
        InputError: for a distribution of vectors that is not a product over elements.
    """
    return by_elements(fn, value, lambda fn, x: _of_elements(fn, x.double(), half.double()))


def _of_elements(fn: Any, value: Tensor, half: Tensor) -> Tensor:
    if fn.event_shape:
        raise InputError(
            f"the probability of integers under {type(fn).__name__} is an integral over "
            f"{math.prod(fn.event_shape)} elements at once, which is not computed; take "
            "independent elements, such as `Normal(...).to_event(1)`"
        )
    if isinstance(fn, torch.distributions.Normal):
        return _of_normal((value - fn.loc) / fn.scale, half / fn.scale)
    try:
        mass: Tensor = fn.cdf(value + half) - fn.cdf(value - half)
    except NotImplementedError:
        return _quadrature(fn, value, half)
    if bool((mass > LEAST).all()):
        return mass.log()
    return torch.where(mass > LEAST, mass.log(), _quadrature(fn, value, half))


def _of_normal(z: Tensor, half: Tensor) -> Tensor:
    """Log (Phi(z + half) - Phi(z - half)), computed in the tail where both are small."""
    z = -z.abs()
    above, below = (torch.special.log_ndtr(end) for end in (z + half, z - half))
    return torch.add(above, (-(below - above).exp()).log1p())


def _quadrature(fn: Any, value: Tensor, half: Tensor) -> Tensor:
    """The integral of the density over a step, by Gauss and Legendre."""
    total: Tensor | None = None
    for node, weight in zip(*np.polynomial.legendre.leggauss(NODES), strict=True):
        at = value + half * float(node)
        is_inside = fn.support.check(at)
        term = fn.log_prob(at.where(is_inside, value)) + math.log(weight)
        term = term.masked_fill(~is_inside, -math.inf)
        total = term if total is None else torch.logaddexp(total, term)
    assert total is not None
    return total + half.log()
