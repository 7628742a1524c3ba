"""Gradients along the draws of a guide: derivatives by its weights through z, not through log q."""

from collections.abc import Sequence
from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import constraints

from ppvae.errors import InputError
from ppvae.programs.sites import base, family_name, is_subsample


class Paths(Messenger):
    """The draws of one run of a guide, each replaced by a view that the rest of the guide uses.

    Attributes:
        drawn: draws with a gradient, by site.
        seen: the views of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[str, Tensor] = {}
        self.seen: dict[str, Tensor] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        value = msg["value"]
        if msg["is_observed"] or is_subsample(msg) or not value.requires_grad:
            return
        self.drawn[msg["name"]] = value
        self.seen[msg["name"]] = msg["value"] = value.view_as(value)

    def densities(self, guide: Trace, bound: str) -> dict[str, Tensor]:
        """Log q_i(z_i; phi, z_<i) of each site that has a path and a score, scaled and masked.

        It leaves out sites where the expected score, E[d log q / d phi] at given z, is not zero,
        and those whose draws have no gradient.

        Raises:
            InputError: for a density that is known at its own draws only.
        """
        nodes: dict[str, Any] = {**guide.nodes}
        return {
            name: _log_prob(name, nodes[name], value, bound)
            for name, value in self.seen.items()
            if _has_score(nodes[name]["fn"])
        }


def partials(total: Tensor, draws: Sequence[Tensor]) -> Sequence[Tensor]:
    """Derivatives of ``total`` by each draw, with the other draws and the weights held fixed."""
    if not total.requires_grad:  # all sites are masked
        return [torch.zeros_like(value) for value in draws]
    # A later draw is computed from an earlier one; a held draw passes no derivative on to it.
    held = [d.grad_fn.register_prehook(_nothing) for d in draws if d.grad_fn is not None]
    try:
        return torch.autograd.grad(total, list(draws), retain_graph=True, materialize_grads=True)
    finally:
        for hook in held:
            hook.remove()


def _nothing(grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if grad is None else torch.zeros_like(grad) for grad in grads)


def _log_prob(name: str, node: Any, value: Tensor, bound: str) -> Tensor:
    """Log-density of a site at a draw, computed anew.

    A flow caches the density of the tensor that it drew, and the cached value is no function of the
    draw; it does not recognize a view.
    """
    try:
        log_prob = node["fn"].log_prob(value, *node["args"], **node["kwargs"])
    except (KeyError, NotImplementedError) as error:
        raise InputError(
            f"site '{name}' of the guide is {family_name(node['fn'])}, which has no inverse, so "
            f"that its density is known at its own draws only, and {bound} needs it at given ones; "
            "take Trace_ELBO"
        ) from error
    return cast("Tensor", scale_and_mask(log_prob, node["scale"], node["mask"]))


def _has_score(fn: Any) -> bool:
    """Whether E[d log q / d weights] = 0: whether the support is free of the weights."""
    if isinstance(_root(fn), dist.Delta):
        return False
    try:
        support = fn.support
    except NotImplementedError:  # flows declare no support
        return True
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    bounds = [bound for bound in vars(support).values() if isinstance(bound, Tensor)]
    return not any(bound.requires_grad for bound in bounds)


def _root(fn: Any) -> Any:
    """The innermost base distribution, without any transforms."""
    fn = base(fn)
    return (
        _root(fn.base_dist) if isinstance(fn, torch.distributions.TransformedDistribution) else fn
    )
