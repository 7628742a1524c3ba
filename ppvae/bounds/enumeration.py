"""Latents that are summed over, not drawn: a term is met at every value, each with its weight.

Under ``TraceEnum_ELBO`` a discrete latent takes all of its values at once, along a dimension of its
own to the left of all plates. What a bound is made of is then no plain sum of log-probabilities.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

__all__ = ["Sites", "expectations"]

Sites = Mapping[str, tuple[Any, Any]]
"""The sample sites of one call of a program: message, and the scale that its term is taken at."""


def expectations(model: Sites, guide: Sites) -> tuple[Tensor, Tensor]:
    """Reconstruction and KL: E_q of the observed sites' log p, and of the latent ones' log q / p.

    A term is weighed by the guide's probability of every enumerated site that it may depend on:
    of those in no plate but the term's own. Both are sums over data and draws, in nats; their
    difference is the bound that ``TraceEnum_ELBO`` takes of the same draws.

    Args:
        model: all sites of the model in a call under ``TraceEnum_ELBO``.
        guide: the sites of the guide that the model was replayed on.
    """
    weights = [_Weight(node) for node, _ in guide.values() if node["infer"].get("enumerate")]
    reconstruction = kl = torch.zeros(())
    for node, scale in model.values():
        term = _expected(node, scale, weights)
        if node["is_observed"]:
            reconstruction = reconstruction + term
        else:
            kl = kl - term
    for node, scale in guide.values():
        if not node["is_observed"]:
            kl = kl + _expected(node, scale, weights)
    return reconstruction, kl


class _Weight:
    """The probability of each value of an enumerated site, and how often others meet the site."""

    def __init__(self, node: Any) -> None:
        infer, samples = node["infer"], node["infer"].get("num_samples")
        self.plates = _plates(node)
        log_prob = scale_and_mask(node["fn"].log_prob(node["value"]), mask=node["mask"])
        # Of several draws in place of all values, each has the same weight.
        self.weight = log_prob.exp() if samples is None else torch.ones_like(log_prob) / samples
        # Sequentially, each value is a call of its own, which terms outside of its plates are in.
        self.calls = infer.get("_enum_total", 1)


def _expected(node: Any, scale: Any, weights: list[_Weight]) -> Tensor:
    term = scale_and_mask(node["fn"].log_prob(node["value"]), scale=scale, mask=node["mask"])
    plates, weight = _plates(node), torch.ones_like(term)
    for site in weights:
        weight = weight * site.weight if site.plates <= plates else weight / site.calls
    # A value without probability may have an infinite log-probability.
    return torch.where(weight > 0, weight * term, 0.0).sum()


def _plates(node: Any) -> frozenset[str]:
    return frozenset(frame.name for frame in node["cond_indep_stack"] if frame.vectorized)
