"""Posterior of one datum as an unconstrained density, with the moments of the guide."""

from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppvae.compilation.gradient import Potential
from ppvae.data import Batch
from ppvae.diagnostics.evidence.importance_sampling import CHUNK
from ppvae.diagnostics.shared.unconstrained import UnconstrainedSpace
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit

GUIDE_DRAWS = 1000
"""Number of draws for the moments of the guide without a closed form."""

STARTS = 32
"""Number of draws of the guide to try as the start of a chain."""

STRETCH = 2.0
"""Factor on the distance of a draw from the guide's mean for the start of a chain."""


class PosteriorTarget:
    """p(z | x) of one datum, as a density of one unconstrained vector, and the guide.

    Attributes:
        potential: minus the log-density of a vector, up to a constant.
    """

    def __init__(self, pair: Pair, audit: Audit, row: Batch) -> None:
        self._pair, self._audit, self._row = pair, audit, row
        self._densities = Densities(pair, audit, row)
        self._space = UnconstrainedSpace(pair, audit, row)
        drawn = self._densities.draw(1).latents
        self._like = {name: drawn[name] for name in audit.latents}
        self.potential = Potential(lambda z: -self._log_density(z[None])[0], pair)

    @property
    def sites(self) -> tuple[tuple[str, int], ...]:
        """Site and index of each dimension."""
        columns = {name: self._densities.columns(name, v) for name, v in self._like.items()}
        return tuple((name, i) for name, v in columns.items() for i in range(v.shape[-1]))

    def start(self, number: int) -> Tensor:
        """Start of a chain: an overdispersed draw of the guide.

        If the density is not finite there, another draw, or an unchanged draw.
        """
        latents = self._densities.draw(STARTS).latents
        vectors = self._space.position(latents)[:, 0]
        centre = vectors.mean(0)
        candidates = torch.cat([centre + STRETCH * (vectors - centre), vectors])
        is_finite = self._log_density(candidates).isfinite() & candidates.isfinite().all(1)
        if not is_finite.any():
            raise InputError(
                f"log p(x, z) of datum {number} is not finite at any of {STARTS} draws of the "
                "guide, so no chain can start; look at that datum, or take another checkpoint"
            )
        return candidates[is_finite.nonzero()[0, 0]].clone()

    def columns(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """``(chains, draws, numbers)`` as values of the latents, and log p(x, z) at them."""
        flat = vectors.flatten(0, 1)
        values, joints = [], []
        for some in flat.split(max(1, CHUNK // self._row["x"].numel())):
            latents, _ = self._space.latents(some[:, None])
            joints.append(self._densities.at(latents, guide=False).log_joint[:, 0])
            columns = [self._densities.columns(name, v)[:, 0] for name, v in latents.items()]
            values.append(torch.cat(columns, dim=-1))
        shape = vectors.shape[:2]
        return (
            torch.cat(values).unflatten(0, shape).cpu().double(),
            torch.cat(joints).unflatten(0, shape).cpu().double(),
        )

    def guide_moments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean of q(z | x) and its error, standard deviation and its error: ``(dimensions,)`` each.

        By the laws of total expectation and variance over draws of a site's parents in the guide:
        exact for a site that has none, if its family knows its moments.
        """
        mean, variance = (
            torch.cat(part, dim=-1).cpu().double() for part in zip(*self._moments(), strict=True)
        )
        loc = mean.mean(0)
        second = variance + (mean - loc).square()
        scale = second.mean(0).sqrt()
        root = len(mean) ** 0.5
        scale_error = second.std(0) / root / (2 * scale)
        # A point mass has scale 0, without error.
        return loc, mean.std(0) / root, scale, torch.where(scale > 0, scale_error, 0.0)

    def _log_density(self, vectors: Tensor) -> Tensor:
        """Log-density of ``(n, numbers)`` vectors, p(x, z) times the change of volume: ``(n,)``."""
        latents, log_volume = self._space.latents(vectors[:, None])
        return (self._densities.at(latents, guide=False).log_joint + log_volume)[:, 0]

    def _moments(self) -> list[tuple[Tensor, Tensor]]:
        """Mean and variance of each latent given its parents: ``(guide's draws, numbers)``."""
        traces = _guide_traces(self._pair, self._audit, self._row)
        moments = []
        for name in self._like:
            means: list[Tensor] = []
            variances: list[Tensor] = []
            for trace in traces:
                fn, value = trace.nodes[name]["fn"], trace.nodes[name]["value"]
                try:
                    mean, variance = fn.mean, fn.variance
                except NotImplementedError:
                    mean, variance = value, torch.zeros_like(value)
                for kept, moment in ((means, mean), (variances, variance)):
                    kept.append(self._densities.columns(name, moment)[:, 0])
            moments.append((torch.cat(means), torch.cat(variances)))
        return moments


def _guide_traces(pair: Pair, audit: Audit, row: Batch) -> list[Any]:
    """Traces of the guide that hold `GUIDE_DRAWS` draws: one with all of them, or one for each."""
    if not audit.vectorizes:
        return [poutine.trace(pair.call_guide).get_trace(**row) for _ in range(GUIDE_DRAWS)]
    plate = audit.axes.plate(GUIDE_DRAWS)
    return [poutine.trace(plate(pair.call_guide)).get_trace(**row)]
