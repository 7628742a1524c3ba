"""Sticking the landing: the gradient of the ELBO without the guide's score, which is pure noise.

The gradient of -log q(z; phi) at z = z(phi, eps) has two parts: one through the draw, and one of
the density at a fixed draw, the score. The expectation of the score is zero; its variance is not,
even where the guide is exact. This bound leaves it out.
"""

from collections.abc import Callable
from typing import Any, cast, final, override

import torch
from pyro.infer import Trace_ELBO
from pyro.poutine import Trace

from ppvae.bounds.paths import Paths, partials
from ppvae.bounds.traces import check_reparameterized
from ppvae.bounds.traits import Traits
from ppvae.programs.sites import sites


@final
class StickingTheLandingELBO(Trace_ELBO):
    """The evidence lower bound, whose gradient reaches the guide through its draws alone.

    The value is that of ``Trace_ELBO``, draw by draw. With z_i = z_i(phi, z_<i, eps_i) the draws
    of the guide's sites, and log q(z; phi) = sum_i log q_i(z_i; phi, z_<i), the gradient is ::

        d/dphi log p(x, z) - sum_i (d log q / d z_i) (d z_i / d phi),

    where d z_i / d phi passes through earlier draws, and d log q / d z_i holds all other draws and
    phi fixed. Compared with ``Trace_ELBO``, it lacks the score, d log q / d phi at given z, whose
    expectation is zero: the two gradients have the same mean. With the exact posterior as guide,
    log p(x, z) - log q(z) is constant in z, and the gradient of the guide is zero for every draw.
    Near it the noise is much smaller than ``Trace_ELBO``'s; far from it, it may be larger (Geffner
    and Domke, 2020). The gradient of the model is the same; where model and guide share weights,
    only the score of q is left out.

    Use it in place of ``Trace_ELBO``, with the same arguments: ``SVI(model, guide, optimizer,
    elbo)``, or the module ``elbo(model, guide)``; scales and masks weigh the terms of each site as
    there. The guide runs once, so that its own randomness, such as dropout, stays the same::

        elbo = StickingTheLandingELBO(num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    A density keeps its full gradient, as in ``Trace_ELBO``, where the expected score is not zero: a
    point mass (its ``log_density`` is the Jacobian of a change of variables), a factor, and a site
    whose declared support moves with the weights, such as ``Uniform(0, b)``. So does a site whose
    draws carry no gradient.

    Raises:
        InputError: when called with a guide that has a site without a reparameterized draw, or one
            whose density is known at its own draws only, such as a flow without an inverse.
    Source: Roeder, Wu and Duvenaud, Sticking the Landing, 2017. On when it helps: Geffner and
    Domke, A Rule for Gradient Estimator Selection, 2020.
    """

    traits = Traits(is_linear=True, needs_rsample=True)

    @override
    def _get_trace(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        """Run the guide, then the model on its draws; take the scores out of the guide's terms."""
        paths = Paths()
        p, q = cast("Any", super())._get_trace(model, paths(guide), args, kwargs)
        drawn = {name: node for name, node in sites(q).items() if not node["is_observed"]}
        check_reparameterized(drawn, "StickingTheLandingELBO")
        _drop_scores(q, paths)
        return p, q


def _drop_scores(guide: Trace, paths: Paths) -> None:
    """Replace the term of each site by one with the derivative of the path alone.

    Pyro reads nothing else from it. A site without path or score stays as it is.
    """
    densities = paths.densities(guide, "StickingTheLandingELBO")
    if not densities:
        return
    drawn = [paths.drawn[name] for name in densities]
    log_q = torch.stack([log_prob.sum() for log_prob in densities.values()]).sum()
    nodes: dict[str, Any] = {**guide.nodes}
    for name, draw, partial in zip(densities, drawn, partials(log_q, drawn), strict=True):
        parts = nodes[name]["score_parts"]
        nodes[name]["score_parts"] = parts._replace(entropy_term=(draw * partial).sum())
