"""Is the latent used? Units whose posterior mean moves with x.

Where it does not move, the guide says the same of every datum, and the decoder has learned to do
without the latent: posterior collapse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ppvae.errors import InputError

if TYPE_CHECKING:
    from ppvae.diagnostics.posterior import Embedding

__all__ = ["THRESHOLD", "THRESHOLDS", "Activity", "active_units", "activity", "alarm"]

THRESHOLD = 0.01
"""Variance of the posterior mean above which a unit counts as active (Burda et al., 2016)."""

THRESHOLDS = (0.001, THRESHOLD, 0.1)
"""The published threshold between a tenth and ten times of it: does the count hang on it?"""


def active_units(loc: Tensor, threshold: float = THRESHOLD) -> int:
    """Number of latent dimensions with Var_x(E_q[z | x]) above ``threshold``.

    Args:
        loc: posterior means, ``(data, dimensions)``.
        threshold: a variance, in squared units of z.
    """
    return int((loc.var(dim=0) > threshold).sum())


@dataclass(frozen=True)
class Activity:
    """How the posterior means move with x, by latent site.

    Attributes:
        variance: Var_x(E_q[z | x]) of each dimension, ``(dimensions,)``, in squared units of z.
        error: its standard error over data, ``(dimensions,)``, from the fourth moment.
        drawn: sites whose family in the guide has no mean, so that a draw stood in for it: their
            variances have the posterior's own in them, and their counts are too high.
        data: number of data.
    """

    variance: dict[str, Tensor]
    error: dict[str, Tensor]
    drawn: tuple[str, ...]
    data: int

    @property
    def sizes(self) -> dict[str, int]:
        """Number of dimensions of each site."""
        return {site: len(variance) for site, variance in self.variance.items()}

    @property
    def active(self) -> dict[str, int]:
        """Number of active units of each site, at the published threshold."""
        return self.count(THRESHOLD)

    @property
    def fraction(self) -> dict[str, float]:
        """Share of each site's dimensions that is active, at the published threshold."""
        return {site: self.active[site] / size for site, size in self.sizes.items()}

    @property
    def sensitivity(self) -> dict[float, dict[str, int]]:
        """The counts at each of `THRESHOLDS`."""
        return {threshold: self.count(threshold) for threshold in THRESHOLDS}

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Sites of which no unit is active: the posterior has collapsed there."""
        return tuple(site for site, active in self.active.items() if active == 0)

    def count(self, threshold: float) -> dict[str, int]:
        """Number of dimensions of each site whose variance is above ``threshold``."""
        return {site: int((v > threshold).sum()) for site, v in self.variance.items()}


def activity(embedding: "Embedding") -> Activity:
    """Say how the posterior means of an embedding move over its data.

    Raises:
        InputError: for fewer than 2 data, and for means that are not finite.
    """
    variance, error, drawn = {}, {}, []
    count = 0
    for site, loc in embedding.loc.items():
        count, loc = len(loc), loc.double()
        if count < 2:
            raise InputError(
                f"the embedding has {count} data, over which nothing moves; give at least 2"
            )
        if not bool(loc.isfinite().all()):
            raise InputError(
                f"posterior means of site '{site}' are not finite; take another checkpoint, or fit "
                "with a smaller lr"
            )
        variance[site] = loc.var(dim=0)
        # Var(s^2) = (m4 - sigma^4 (n - 3) / (n - 1)) / n, for any distribution with four moments.
        fourth = (loc - loc.mean(0)).pow(4).mean(0)
        square = variance[site].square() * (count - 3) / (count - 1)
        error[site] = ((fourth - square).clamp(min=0) / count).sqrt()
        if bool(torch.isnan(embedding.scale[site]).any()):
            drawn.append(site)
    return Activity(variance, error, tuple(drawn), count)


def alarm(active: Mapping[str, int], sizes: Mapping[str, int]) -> str:
    """One sentence for a person if a site has no active unit, with what is tried then; else ``""``.

    Args:
        active: active units by site.
        sizes: dimensions by site.

    Example::

        alarm({"z": 0}, {"z": 20})  # "posterior collapse: no unit of z (20) is active; try ..."
    """
    collapsed = [f"{site} ({sizes[site]})" for site, count in active.items() if count == 0]
    if not collapsed:
        return ""
    return (
        f"posterior collapse: no unit of {' or '.join(collapsed)} is active; try a warm-up "
        "(--warm-up), free bits, or another prior"
    )
