"""Sticking the landing: the ELBO's gradient without the score of the guide, which is noise alone.

The gradient of -log q(z; phi) at z = z(phi, eps) has two parts: by way of the draw, and that of the
density at a draw held still, the score. The score's expectation is zero; its variance is not, even
where the guide is exact. Here it is left out.
"""

from collections.abc import Callable
from typing import Any, cast, override

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer import Trace_ELBO
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import constraints

from ppvae.errors import InputError

__all__ = ["StickingTheLandingELBO"]


class StickingTheLandingELBO(Trace_ELBO):
    """The evidence lower bound, whose gradient reaches the guide by way of its draws alone.

    The value is that of ``Trace_ELBO``, draw by draw. With z_i = z_i(phi, z_<i, eps_i) the draws
    of the guide's sites, and log q(z; phi) = sum_i log q_i(z_i; phi, z_<i), the gradient is ::

        d/dphi log p(x, z) - sum_i (d log q / d z_i) (d z_i / d phi),

    where d z_i / d phi passes through earlier draws, and d log q / d z_i holds all other draws and
    phi. What is missing of ``Trace_ELBO``'s is the score, d log q / d phi at given z, whose
    expectation is zero: the two gradients have the same mean. With the exact posterior for a guide,
    log p(x, z) - log q(z) is constant in z, and the gradient of the guide is zero for every draw.
    Near it the noise is much smaller than ``Trace_ELBO``'s; far from it, it may be larger (Geffner
    and Domke, 2020). The gradient of the model is the same; where model and guide share weights,
    the score through q alone is left out.

    Usable where ``Trace_ELBO`` is, with its arguments: ``SVI(model, guide, optimizer, elbo)``, or
    the module ``elbo(model, guide)``; scales and masks weigh the terms of each site as there. The
    guide runs once, so that its own randomness, as of dropout, is the same throughout::

        elbo = StickingTheLandingELBO(num_particles=5, vectorize_particles=True)
        loss = elbo(model, guide)
        loss(x).backward()

    A density is left whole, as ``Trace_ELBO`` has it, where the expected score is not zero: a point
    mass (what there is of ``log_density`` is the Jacobian of a change of variables), a factor, and
    a site whose support, as its distribution declares it, moves with the weights, such as
    ``Uniform(0, b)``. So is what draws nothing with a gradient.

    Raises:
        InputError: when called with a guide that has a site without a reparameterized draw, or one
            whose density is known at its own draws only, as of a flow without an inverse.

    Source: Roeder, Wu and Duvenaud, Sticking the Landing, 2017. On when it helps: Geffner and
    Domke, A Rule for Gradient Estimator Selection, 2020.
    """

    @override
    def _get_trace(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        """Run the guide, then the model on its draws; take the scores out of the guide's terms."""
        draws = _Draws()
        p, q = cast("Any", super())._get_trace(model, draws(guide), args, kwargs)
        for name, node in q.nodes.items():
            if node["type"] == "sample" and not node["is_observed"] and not node["fn"].has_rsample:
                raise InputError(
                    f"site '{name}' of the guide is {_family(node['fn'])}, which has no "
                    "reparameterized draw, and StickingTheLandingELBO needs one; take Trace_ELBO"
                )
        _drop_scores(q, draws)
        return p, q


class _Draws(Messenger):
    """Hands the guide a view of each of its draws, so that a derivative can stop there.

    Attributes:
        drawn: draws that a gradient passes through, by site.
        seen: the views of them, that everything later in the guide is computed from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[str, Tensor] = {}
        self.seen: dict[str, Tensor] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        value = msg["value"]
        if msg["is_observed"] or site_is_subsample(msg) or not value.requires_grad:
            return
        self.drawn[msg["name"]] = value
        self.seen[msg["name"]] = msg["value"] = value.view_as(value)


def _drop_scores(guide: Trace, draws: _Draws) -> None:
    """Make of each site's term one whose derivative is the path's; Pyro reads nothing else off it.

    A site that no gradient passes through has no path, and stays as it is.
    """
    nodes: dict[str, Any] = {**guide.nodes}
    scored = [name for name in draws.seen if _has_score(nodes[name]["fn"])]
    log_q = sum(_log_prob(name, nodes[name], draws.seen[name]) for name in scored)
    for name, partial in _partials(log_q, draws).items():
        parts = nodes[name]["score_parts"]
        path = (draws.drawn[name] * partial).sum()
        term = path if name in scored else path + parts.entropy_term.sum()
        nodes[name]["score_parts"] = parts._replace(entropy_term=term)


def _partials(log_q: Tensor | float, draws: _Draws) -> dict[str, Tensor]:
    """Derivatives of log q by each draw, the other draws and the weights held."""
    if not (isinstance(log_q, Tensor) and log_q.requires_grad):  # of no sites, or masked ones
        return {name: torch.zeros_like(value) for name, value in draws.seen.items()}
    # A later draw is computed from an earlier one: held, it passes no derivative back.
    held = [value.register_hook(torch.zeros_like) for value in draws.drawn.values()]
    try:
        found = torch.autograd.grad(
            log_q, list(draws.seen.values()), retain_graph=True, materialize_grads=True
        )
    finally:
        for hook in held:
            hook.remove()
    return dict(zip(draws.seen, found, strict=True))


def _log_prob(name: str, node: Any, value: Tensor) -> Tensor:
    """Log-density of a site at a draw, by a computation of its own.

    Flows remember the density of their very own draw, as computed on the way there, where it is no
    function of the draw; a view is a tensor that they do not know.
    """
    try:
        log_prob = node["fn"].log_prob(value, *node["args"], **node["kwargs"])
    except (KeyError, NotImplementedError) as error:
        raise InputError(
            f"site '{name}' of the guide is {_family(node['fn'])}, whose density is known at its "
            "own draws only, for want of an inverse, and StickingTheLandingELBO needs it at given "
            "ones; take Trace_ELBO"
        ) from error
    return cast("Tensor", scale_and_mask(log_prob, node["scale"], node["mask"])).sum()


def _has_score(fn: Any) -> bool:
    """Whether E[d log q / d weights] = 0: a density on a set that does not move with them."""
    if isinstance(_base(fn), dist.Delta):
        return False
    try:
        support = fn.support
    except NotImplementedError:  # it does not say, as flows do not
        return True
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    bounds = [bound for bound in vars(support).values() if isinstance(bound, Tensor)]
    return not any(bound.requires_grad for bound in bounds)


def _base(fn: Any) -> Any:
    while isinstance(
        fn,
        (
            torch.distributions.Independent,
            torch.distributions.TransformedDistribution,
            dist.MaskedDistribution,
            dist.ExpandedDistribution,
        ),
    ):
        fn = fn.base_dist
    return fn


def _family(fn: Any) -> str:
    while isinstance(fn, (torch.distributions.Independent, dist.MaskedDistribution)):
        fn = fn.base_dist
    return type(fn).__name__
