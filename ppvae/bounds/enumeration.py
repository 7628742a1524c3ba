"""Reconstruction and KL with enumerated latents: terms at every value, weighted by its probability.

Under ``TraceEnum_ELBO`` a discrete latent takes all of its values at once, along an extra dimension
to the left of all plates, so that a bound is no plain sum of log-probabilities. Where no score is
needed, ``TraceEnum_ELBO`` too differentiates the difference of the two.
"""

from typing import Any

import torch
from torch import Tensor

from ppvae.bounds.kl_weight import Site, Sites, log_prob
from ppvae.programs.plates import plates


def expectations(model: Sites, guide: Sites) -> tuple[Tensor, Tensor]:
    """Reconstruction and KL: E_q of the observed sites' log p, and of the latent ones' log q / p.

    A term is weighted by the guide's probability of every enumerated site that it may depend on:
    those whose plates are all plates of the term. Both are sums over data and draws, in nats; their
    difference is the bound that ``TraceEnum_ELBO`` computes from the same draws.

    Args:
        model: all sites of the model in a call under ``TraceEnum_ELBO``.
        guide: the sites of the guide that the model was replayed on.
    """
    enumerated = [site for site in guide.values() if site.node["infer"].get("enumerate")]
    weights = [_Weight(site) for site in enumerated]
    reconstruction = kl = torch.zeros(())
    for site in model.values():
        term = _expected(site, weights)
        if site.node["is_observed"]:
            reconstruction = reconstruction + term
        else:
            kl = kl - term
    for site in guide.values():
        if not site.node["is_observed"]:
            kl = kl + _expected(site, weights)
    return reconstruction, kl


def needs_score(node: Any) -> bool:
    """Whether a gradient through a site of the guide needs the score of its draws.

    It does not where a draw is reparameterized, or all values are enumerated at once.
    """
    infer = node["infer"]
    is_whole = infer.get("enumerate") == "parallel" and infer.get("num_samples") is None
    return not (is_whole or node["fn"].has_rsample)


class _Weight:
    """The probability of each value of an enumerated site, and the number of its separate calls."""

    def __init__(self, site: Site) -> None:
        infer, samples = site.node["infer"], site.node["infer"].get("num_samples")
        self.plates = plates(site.node)
        density = log_prob(site._replace(scale=1.0))
        # Draws that replace the sum over all values have equal weights.
        self.weight = density.exp() if samples is None else torch.ones_like(density) / samples
        # Sequential enumeration calls the programs once per value, with all terms in every call.
        self.calls = infer.get("_enum_total", 1)


def _expected(site: Site, weights: list[_Weight]) -> Tensor:
    term, inside = log_prob(site), plates(site.node)
    weight = torch.ones_like(term)
    for each in weights:
        weight = weight * each.weight if each.plates <= inside else weight / each.calls
    # A value without probability may have an infinite log-probability.
    return torch.where(weight > 0, weight * term, 0.0).sum()
