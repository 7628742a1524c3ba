"""Hamiltonian transitions, which leave a density invariant (Neal, 2011).

The latents of a datum are one vector in unconstrained coordinates. The density is between a start,
p(z) or q(z | x), and p(x, z), according to its temperature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import pyro
import torch
from torch import Tensor, nn

from ppvae.data import Batch
from ppvae.diagnostics.shared.unconstrained import UnconstrainedSpace
from ppvae.errors import InputError
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit

Start = Literal["prior", "guide"]
"""Where chains start: at draws of p(z), or of q(z | x)."""

JITTER = 0.2
"""Maximum relative jitter of the step of each trajectory: trajectories of constant length may be
whole periods, and end where they started (Neal, 2011).
"""


@dataclass(frozen=True)
class Point:
    """Positions of chains, and log f_t = base + t * slope there, with its gradient.

    Both parts are kept, so that a change of temperature is free.

    Attributes:
        position: unconstrained latents: ``(chains, data, dimensions)``.
        base: log f_0: ``(chains, data)``, in nats.
        slope: log f_1 - log f_0, in the same shape.
        base_gradient: derivative of ``base`` by ``position``, in the shape of the latter.
        slope_gradient: that of ``slope``.
    """

    position: Tensor
    base: Tensor
    slope: Tensor
    base_gradient: Tensor
    slope_gradient: Tensor

    def log_density(self, t: float) -> Tensor:
        """Log f_t, up to a constant: ``(chains, data)``."""
        return self.base + t * self.slope

    def gradient(self, t: float) -> Tensor:
        """Its derivative: ``(chains, data, dimensions)``."""
        return self.base_gradient.add(self.slope_gradient, alpha=t)

    def moved(self, to: "Point", where: Tensor) -> "Point":
        """The other point where ``where``, ``(chains, data)``, is true."""
        wide = where.unsqueeze(-1)
        return Point(
            torch.where(wide, to.position, self.position),
            torch.where(where, to.base, self.base),
            torch.where(where, to.slope, self.slope),
            torch.where(wide, to.base_gradient, self.base_gradient),
            torch.where(wide, to.slope_gradient, self.slope_gradient),
        )


class AnnealingPath:
    """The densities f_t of one batch, in unconstrained coordinates, from the start to p(x, z).

    From the prior, f_t = p(z) p(x | z)^t; from the guide, f_t = q(z | x)^(1 - t) p(x, z)^t.

    Args:
        pair: model and guide.
        audit: their audit.
        batch: the data.
        start: the start of the path.
        density: the density of positions, if shared by batches; default: a new one.

    Raises:
        InputError: if there is no such path.
    """

    def __init__(
        self,
        pair: Pair,
        audit: Audit,
        batch: Batch,
        start: Start,
        density: "PathDensity | None" = None,
    ) -> None:
        self._density = density or PathDensity(pair, audit, start)
        self._from_guide = start == "guide"
        self.batch = batch
        self._densities = Densities(pair, audit, batch)
        self._space = UnconstrainedSpace(pair, audit, batch)
        self._latents = frozenset(audit.latents)

    def draw(self, chains: int) -> Point:
        """Chains at the start."""
        if not self._from_guide:
            return self.place(self._densities.draw_prior(chains).latents)
        latents = self._densities.draw(chains).latents
        others = sorted(latents.keys() - self._latents)
        if others:
            raise InputError(
                f"the guide draws '{others[0]}', which is not a latent of the model, so the "
                "density of its start is unknown; take start='prior'"
            )
        return self.place(latents)

    def place(self, latents: Mapping[str, Tensor]) -> Point:
        """Chains at given latents, in the shapes of `ppvae.programs.densities.Draws.latents`."""
        position = self._space.position(latents)
        if name := self._space.astray(position):
            raise InputError(
                f"a draw of site '{name}' is outside its support in the model, or on its edge, "
                "where no chain can start; take start='prior', or a prior that avoids the edge"
            )
        return self.at(position)

    def at(self, position: Tensor) -> Point:
        """Score a position, by one forward and one backward pass."""
        position = position.detach()
        return Point(position, *self._density(self._space, self.batch, position))


class PathDensity:
    """Log f_0 and log f_1 - log f_0 of positions, with their gradients, of one batch or several.

    Args:
        pair: model and guide.
        audit: their audit.
        start: the start of the path.
        compile: whether it is one native graph; programs that cannot be a graph run eagerly.
    """

    def __init__(self, pair: Pair, audit: Audit, start: Start, *, compile: bool = False) -> None:
        if start not in get_args(Start):
            raise InputError(f"start is '{start}'; take 'prior' or 'guide'")
        if start == "guide" and not audit.is_bound:
            raise InputError(
                "a guide with a point mass has no density to start from; take start='prior'"
            )
        self._scoring = _Scoring(pair, audit, start)
        self._run: nn.Module = self._scoring
        if compile:
            from ppvae.compilation.captured import Captured  # late: it takes seconds to import

            # What positions of a batch share, such as q(z | x), is computed once per batch.
            self._run = Captured(self._scoring, check=0, tell=lambda _: None, fixed=1)

    def __call__(
        self, space: UnconstrainedSpace, batch: Batch, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The values of a `Point`, without its position."""
        self._scoring.space = space
        scored: tuple[Tensor, Tensor, Tensor, Tensor] = self._run(batch, position)
        return scored


class _Scoring(nn.Module):
    """A `PathDensity` of one batch at a time, as a module.

    Attributes:
        space: unconstrained space of the latents of the batch.
    """

    space: UnconstrainedSpace

    def __init__(self, pair: Pair, audit: Audit, start: Start) -> None:
        super().__init__()
        self.pair, self._audit, self._from_guide = pair, audit, start == "guide"

    def forward(self, batch: Batch, position: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        position = position.detach().requires_grad_()
        # A diverging trajectory is rejected by its density; validation would raise.
        with torch.enable_grad(), pyro.validation_enabled(False):
            latents, log_volume = self.space.latents(position)
            densities = Densities(self.pair, self._audit, batch)
            draws = densities.at(latents, guide=self._from_guide)
            # Two parts without a common term: the backward pass goes through each network once.
            if draws.log_guide is None:
                first, second = draws.log_prior + log_volume, draws.log_likelihood
            else:
                first, second = draws.log_guide + log_volume, draws.log_joint + log_volume
            gradients = _gradient(first, position), _gradient(second, position)
        first, second = first.detach(), second.detach()
        if self._from_guide:
            return first, second - first, gradients[0], gradients[1] - gradients[0]
        return first, second, gradients[0], gradients[1]


def transition(
    path: AnnealingPath, point: Point, t: float, step: Tensor, leapfrog: int
) -> tuple[Point, Tensor]:
    """Move chains by one Hamiltonian transition that leaves f_t invariant.

    It draws a new momentum, makes ``leapfrog`` leapfrog steps, and a Metropolis test. It is
    reversible, so the same transitions are used backwards. ``step``, ``(data,)``, is the step size
    of each datum.

    Returns:
        the new positions, and the probability of acceptance: ``(chains, data)``.
    """
    jitter = 1 + JITTER * (2 * torch.rand_like(point.base) - 1)
    step = (step * jitter).unsqueeze(-1)
    momentum = torch.randn_like(point.position)
    before = point.log_density(t) - 0.5 * momentum.square().sum(-1)
    momentum = momentum + 0.5 * step * point.gradient(t)
    proposal = point
    for i in range(leapfrog):
        proposal = path.at(proposal.position + step * momentum)
        is_last = i == leapfrog - 1
        momentum = momentum + (0.5 if is_last else 1.0) * step * proposal.gradient(t)
    after = proposal.log_density(t) - 0.5 * momentum.square().sum(-1)
    # NaN: the trajectory diverged, and is rejected.
    probability = (after - before).clamp(max=0).exp().nan_to_num(nan=0)
    return point.moved(proposal, torch.rand_like(probability) < probability), probability


def _gradient(values: Tensor, position: Tensor) -> Tensor:
    """The derivative of values by position, for each chain and datum."""
    if not values.requires_grad:  # a density that is flat in z
        return torch.zeros_like(position)
    (gradient,) = torch.autograd.grad(
        values.sum(), position, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return gradient
