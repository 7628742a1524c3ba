"""Search for the best guide of the family for given data.

The guide is freed for a batch, by the parameters of each datum (`free_parameters`) or by its
weights (`free_weights`), and maximizes the bound of that batch by Adam, with reparameterized draws.
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
"""What is refined: the parameters of the distributions of each datum, or all weights of the guide.
"""

FEWEST_STEPS = 8
"""The last quarter of the search is halved, to test whether it still improves."""


@dataclass(frozen=True)
class Search:
    """Settings of the search for the best guide.

    Attributes:
        how: what is refined.
        steps: steps of Adam.
        particles: draws per datum and step.
        lr: initial learning rate.
    """

    how: How
    steps: int
    particles: int
    lr: float

    def rows(self, shape: tuple[int, ...], batch_size: int) -> int:
        """Number of data of a shape to refine at once: one if they would share weights."""
        if self.how == "weights":
            return 1
        # The search for a proposal has twice as many particles.
        return max(1, min(batch_size, CHUNK // (2 * self.particles * math.prod(shape))))

    def let_free(self, pair: Pair, audit: Audit, batch: Batch) -> Freed:
        """The pair with its guide freed for a batch, starting at the encoder."""
        return free_weights(pair) if self.how == "weights" else free_parameters(pair, audit, batch)


DEFAULTS: Mapping[How, Search] = {
    "parameters": Search("parameters", steps=250, particles=8, lr=0.3),
    "weights": Search("weights", steps=300, particles=16, lr=3e-3),
}
"""Enough steps to come within 0.02 nats of the result of many more steps for parameters, and within
0.1 nats for weights, for a 784-400-20 network on MNIST. Parameters are in units of the posterior
scale of each datum, of which about twenty can be crossed.
"""


def plan(how: How, steps: int | None, particles: int | None, lr: float | None) -> Search:
    """The requested search, with defaults for the rest.

    Raises:
        InputError: for numbers that are too small.
    """
    asked: dict[str, Any] = {"steps": steps, "particles": particles, "lr": lr}
    search = replace(DEFAULTS[how], **{n: value for n, value in asked.items() if value is not None})
    if search.steps < FEWEST_STEPS:
        raise InputError(f"steps is {search.steps}; the search needs at least {FEWEST_STEPS}")
    check_at_least(1, particles=search.particles)
    if search.lr <= 0:
        raise InputError(f"lr is {search.lr:g}; it must be above 0")
    return search


def choose(pair: Pair, audit: Audit, batch: Batch, how: How | None) -> How:
    """What to refine, by default parameters, after a check of the gradient through draws.

    Raises:
        InputError: if there is no bound per datum, no gradient through draws of the guide, or if
            requested parameters cannot be freed.
    """
    if how not in (None, *DEFAULTS):
        raise InputError(f"how is '{how}'; it must be one of {', '.join(map(repr, DEFAULTS))}")
    if not audit.is_bound:
        raise InputError(
            "the guide has a point mass, so there is no bound and no gap to split; take a guide "
            "with a density"
        )
    Densities(pair, audit, batch)  # refuses what has no density per datum
    for name, node in guide_sites(pair, batch).items():
        if not node["fn"].has_rsample:
            raise InputError(
                f"site '{name}' of the guide is {family_name(node['fn'])}, which has no "
                "reparameterized draw to refine the guide with; the total gap is log_p - elbo of "
                "log_evidence"
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
    """Optimize a guide to the best of its family, q*, by the evidence lower bound.

    Returns:
        the bound at each step, summed over data, in nats: ``(steps,)``.

    Raises:
        InputError: if the guide has no leaves, or its draws depend on none.
    """
    return _climb(freed, audit, batch, search, partial(torch.mean, dim=0))


def climb_evenly(freed: Freed, audit: Audit, batch: Batch, search: Search) -> None:
    """Optimize a guide from q* to a proposal with more even weights p(x, z) / q(z).

    It maximizes the importance-weighted bound (Burda et al., 2016), with fewer and smaller steps
    and twice the particles. With free weights no density is fixed, and the gradient is that of the
    bound; else it is that of `evenly`.
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
    """An objective with the gradient of the log mean weight, if densities are fixed: ``(data,)``.

    ``log_weight`` is ``(particles, data)``.

    That bound favours even weights, so its guide covers the posterior. In the path derivative each
    weight counts by its square (Tucker et al., 2019).
    """
    return (log_weight.softmax(0).detach().square() * log_weight).sum(0)


_NOTHING = (
    "no draw of the guide depends on its weights, so there is nothing to refine; register its "
    "weights by pyro.module, or use the values that pyro.param returns"
)


def _climb(
    freed: Freed,
    audit: Audit,
    batch: Batch,
    search: Search,
    objective: Callable[[Tensor], Tensor],
) -> Tensor:
    """Maximize an objective of the log-weights over the leaves; its sum over data at each step."""
    if not freed.leaves:
        raise InputError(_NOTHING)
    densities = Densities(freed, audit, batch)
    adam = torch.optim.Adam(freed.leaves, lr=search.lr)
    # Large steps first, for a datum unlike the training data; then decreasing noise at the
    # optimum.
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
