"""Active units: latent dimensions whose posterior mean varies with x.

If it does not vary, the posterior is the same for every datum and the decoder ignores the latent:
posterior collapse.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ppvae.errors import InputError

if TYPE_CHECKING:
    from ppvae.diagnostics.bound.embedding import Embedding

THRESHOLD = 0.01
"""Variance of the posterior mean above which a unit counts as active (Burda et al., 2016)."""

LEAST = 5
"""Minimum number of data to detect a collapse."""

THRESHOLDS = (0.001, THRESHOLD, 0.1)
"""The published threshold, a tenth and ten times of it: does the count depend on it?"""


def active_units(loc: Tensor, threshold: float = THRESHOLD) -> int:
    """Number of latent dimensions with Var_x(E_q[z | x]) above ``threshold``.

    Args:
        loc: posterior means, ``(data, dimensions)``.
        threshold: a variance, in squared units of z.
    """
    if len(loc) < 2:
        return 0  # no variance over a single datum
    return int((loc.var(dim=0) > threshold).sum())


def collapsed(loc: Mapping[str, Tensor], scale: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Sites whose posterior has collapsed: q(z | x) is the same for all data.

    A site has collapsed if none of its units is active and, since the threshold is published for a
    prior of scale 1, no mean varies by more than a hundredth of its posterior variance. Fewer than
    5 data show no collapse.

    Args:
        loc: posterior means by site, ``(data, dimensions)``.
        scale: posterior standard deviations, in the same shapes; NaN where a family has none.
    """
    sites = []
    for site, mean in loc.items():
        if len(mean) < LEAST or active_units(mean):
            continue
        spread = scale[site].square().mean(0).nan_to_num(nan=1.0)
        if not bool((mean.var(dim=0) > THRESHOLD * spread).any()):
            sites.append(site)
    return tuple(sites)


@dataclass(frozen=True)
class Activity:
    """Variation of the posterior means with x, by latent site.

    Attributes:
        variance: Var_x(E_q[z | x]) of each dimension, ``(dimensions,)``, in squared units of z.
        error: its standard error over data, ``(dimensions,)``, from the fourth moment.
        drawn: sites whose guide has no mean in closed form, so that a draw replaces it: their
            variances include that of the posterior, and their counts are too high.
        data: number of data.
        collapsed: sites whose posterior has `collapsed`.
    """

    variance: dict[str, Tensor]
    error: dict[str, Tensor]
    drawn: tuple[str, ...]
    data: int
    collapsed: tuple[str, ...]

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
        """Share of active dimensions of each site, at the published threshold."""
        return {site: self.active[site] / size for site, size in self.sizes.items()}

    @property
    def sensitivity(self) -> dict[float, dict[str, int]]:
        """The counts at each of `THRESHOLDS`."""
        return {threshold: self.count(threshold) for threshold in THRESHOLDS}

    def count(self, threshold: float) -> dict[str, int]:
        """Number of dimensions of each site whose variance is above ``threshold``."""
        return {site: int((v > threshold).sum()) for site, v in self.variance.items()}


def activity(embedding: "Embedding") -> Activity:
    """Variation of the posterior means of an embedding over its data.

    Raises:
        InputError: for fewer than 2 data, and for means that are not finite.
    """
    variance, error, drawn = {}, {}, []
    count = 0
    for site, loc in embedding.loc.items():
        count, loc = len(loc), loc.double()
        if count < 2:
            raise InputError(f"the embedding has {count} data, but a variance needs at least 2")
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
    flat = collapsed(embedding.loc, embedding.scale)
    return Activity(variance, error, tuple(drawn), count, flat)


def alarm(sites: Iterable[str]) -> str:
    """A sentence on a collapse with remedies; ``""`` if no site has collapsed.

    Example::

        alarm(["z"])  # "posterior collapse: no unit of z is active; try a warm-up ..."
    """
    names = " or ".join(sites)
    if not names:
        return ""
    return (
        f"posterior collapse: no unit of {names} is active; try a warm-up (`warm_up`), free bits "
        "(`elbo='FreeBitsELBO'`), another prior, or a smaller `beta` where it is above 1"
    )
