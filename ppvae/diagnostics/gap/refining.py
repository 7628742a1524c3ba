"""Which guide of the family is best for these very data? The search for it.

The guide is let free for a batch, by each datum's parameters (`free_parameters`) or by its weights
(`free_weights`), and climbs that batch's bound by Adam, along reparameterized draws.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.diagnostics.evidence.importance_sampling import CHUNK
from ppvae.diagnostics.gap.free_parameters import (
    NotFree,
    check_independent,
    free_parameters,
    guide_sites,
)
from ppvae.diagnostics.gap.free_weights import Freed, free_weights
from ppvae.errors import InputError, check_at_least
from ppvae.programs import Pair
from ppvae.programs.densities import Densities
from ppvae.programs.facts import Audit
from ppvae.programs.sites import family_name

How = Literal["parameters", "weights"]
"""What is refined: the parameters of each datum's distributions, or all the guide's weights."""

FEWEST_STEPS = 8
"""The last quarter of the climb is halved, to see whether it still climbs."""


@dataclass(frozen=True)
class Search:
    """How the best guide is sought.

    Attributes:
        how: what is refined.
        steps: steps of Adam.
        particles: draws per datum and step.
        lr: length of the first steps.
    """

    how: How
    steps: int
    particles: int
    lr: float

    def rows(self, shape: tuple[int, ...], batch_size: int) -> int:
        """How many data of a shape are refined at once: one where they would share weights."""
        if self.how == "weights":
            return 1
        # A proposal's search has twice as many particles.
        return max(1, min(batch_size, CHUNK // (2 * self.particles * math.prod(shape))))

    def let_free(self, pair: Pair, audit: Audit, batch: Batch) -> Freed:
        """The pair with its guide let free for a batch, where the encoder has put it."""
        return free_weights(pair) if self.how == "weights" else free_parameters(pair, audit, batch)


DEFAULTS: Mapping[How, Search] = {
    "parameters": Search("parameters", steps=250, particles=8, lr=0.3),
    "weights": Search("weights", steps=300, particles=16, lr=3e-3),
}
"""Enough steps to come within 0.02 nats of where many times as many lead, by parameters, and within
0.1 by weights, for a 784-400-20 network on MNIST. Parameters are in units of each datum's posterior
scale, so that some twenty of these can be travelled."""


def plan(how: How, steps: int | None, particles: int | None, lr: float | None) -> Search:
    """The search asked for, the rest by default.

    Raises:
        InputError: for numbers that are too small.
    """
    asked: dict[str, Any] = {"steps": steps, "particles": particles, "lr": lr}
    search = replace(DEFAULTS[how], **{n: value for n, value in asked.items() if value is not None})
    if search.steps < FEWEST_STEPS:
        raise InputError(
            f"steps is {search.steps}; to see how it climbs takes at least {FEWEST_STEPS}"
        )
    check_at_least(1, particles=search.particles)
    if search.lr <= 0:
        raise InputError(f"lr is {search.lr:g}; a step has a length above 0")
    return search


def choose(pair: Pair, audit: Audit, batch: Batch, how: How | None) -> How:
    """What to refine, once it is known that draws can be climbed along; by default parameters.

    Raises:
        InputError: if there is no bound of each datum, or no gradient of the guide's draws, or if
            parameters are asked for and cannot be let free.
    """
    if how not in (None, *DEFAULTS):
        raise InputError(f"how is '{how}'; it is one of {', '.join(map(repr, DEFAULTS))}")
    if not audit.is_bound:
        raise InputError(
            "the guide has a point mass, so that there is no bound whose gap could be split; take "
            "a guide with a density"
        )
    Densities(pair, audit, batch)  # refuses what has no density per datum
    for name, node in guide_sites(pair, batch).items():
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {family_name(node['fn'])}, which has no "
                "reparameterized draw for a refined guide to climb along; the whole gap is "
                "log_evidence's log_p - elbo"
            )
    if how == "weights":
        return how
    try:
        check_independent(pair, batch)
        free_parameters(pair, audit, batch)
    except NotFree as reason:
        if how == "parameters":
            raise InputError(f"how is 'parameters', but {reason}; take 'weights'") from reason
        return "weights"
    return "parameters"


def climb_bound(freed: Freed, audit: Audit, batch: Batch, search: Search) -> Tensor:
    """Move a guide to the best of its family, q*, by the evidence lower bound.

    Returns:
        the bound at each step, summed over data, in nats: ``(steps,)``.

    Raises:
        InputError: if the guide has no leaves, or none that reaches its draws.
    """
    return _climb(freed, audit, batch, search, partial(torch.mean, dim=0))


def climb_evenly(freed: Freed, audit: Audit, batch: Batch, search: Search) -> None:
    """Move a guide from q* to a proposal, whose weights p(x, z) / q(z) are even.

    It climbs the bound that averages the weights (Burda et al., 2016), in fewer and shorter steps,
    with twice the particles. Where the guide's own weights are free, no density is held, and the
    gradient is simply that of the bound; else it is that of `evenly`.
    """
    shorter = replace(
        search,
        steps=max(1, search.steps // 4),
        particles=2 * search.particles,
        lr=search.lr / 3,
    )
    objective = evenly if search.how == "parameters" else partial(torch.logsumexp, dim=0)
    _climb(freed, audit, batch, shorter, objective)


def evenly(log_weight: Tensor) -> Tensor:
    """What has the gradient of the log of the mean weight, where densities are held: ``(data,)``.

    ``log_weight`` is ``(particles, data)``.

    That bound asks for weights that are even, so that its guide covers the posterior. With the
    gradient of the path alone each weight counts by its square (Tucker et al., 2019).
    """
    return (log_weight.softmax(0).detach().square() * log_weight).sum(0)


_NOTHING = (
    "no weight of the guide reaches its draws, so that there is nothing to refine; name its "
    "weights by pyro.module, or use what pyro.param returns"
)


def _climb(
    freed: Freed,
    audit: Audit,
    batch: Batch,
    search: Search,
    objective: Callable[[Tensor], Tensor],
) -> Tensor:
    """Move the leaves up an objective of the log-weights; its sum over data at each step."""
    if not freed.leaves:
        raise InputError(_NOTHING)
    densities = Densities(freed, audit, batch)
    adam = torch.optim.Adam(freed.leaves, lr=search.lr)
    # Long steps at first, for a datum that the encoder has never seen the like of; then an ever
    # smaller noise about the top.
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: (1 - step / search.steps) ** 2)
    values = []
    for _ in range(search.steps):
        with torch.enable_grad():
            value = objective(densities.draw(search.particles).log_weight).sum()
            gradient = torch.autograd.grad(-value, freed.leaves, allow_unused=True)
        if all(each is None for each in gradient):
            raise InputError(_NOTHING)
        for leaf, each in zip(freed.leaves, gradient, strict=True):
            leaf.grad = each
        adam.step()
        rates.step()
        values.append(value.detach())
    return torch.stack(values).cpu().double()
