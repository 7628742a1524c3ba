"""What the model makes of latents: samples, reconstructions, decoded points.

Everything is read off traces, so that it serves any pair of programs. A picture shows the mean of
p(x | z) where the family has one, else a draw.
"""

from collections.abc import Mapping
from typing import Any

import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.data import Batch
from ppvae.distributions.moments import AtMeans
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit

__all__ = ["Draws", "decode", "generate", "posterior_means", "reconstruct"]

Draws = tuple[Tensor, Tensor]
"""Mean of p(x | z) and a draw from it, both ``(n, *data_shape)``."""


def generate(pair: Pair, audit: Audit, like: Batch) -> Draws:
    """Draw z ~ p(z), then x ~ p(x | z): as many as ``like`` has rows, in its shape.

    Of ``like`` the model sees nothing but the shape of x, and its labels or covariates if it is
    conditional on them.
    """
    return decode(pair, audit, like, {})


def decode(pair: Pair, audit: Audit, like: Batch, latents: Mapping[str, Tensor]) -> Draws:
    """Draw x ~ p(x | z) at given latents, by site; what is not given is drawn from the model."""
    site = _data_site(audit)
    # The data site alone is freed: labels that a model observes beside x stay observed.
    with evaluating(pair), _Unobserve(site):
        model = (
            poutine.condition(pair.call_model, data=dict(latents)) if latents else pair.call_model
        )
        node: Any = poutine.trace(model).get_trace(**like).nodes[site]
    shape = like["x"].shape  # a program may observe x in another
    mean, value = _mean(node), node["value"]
    if value.numel() != like["x"].numel():
        return mean, value
    return mean.reshape(shape), value.reshape(shape)


def posterior_means(pair: Pair, audit: Audit, batch: Batch) -> dict[str, Tensor]:
    """E_q[z | x] of each latent site, in the site's own shape.

    Of a latent below others it is the mean given the means of those above. A class has no mean: it
    is the most probable one, and the latents after it are those given it.
    """
    with evaluating(pair), AtMeans():
        trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
    return {name: trace.nodes[name]["value"] for name in audit.latents}


def reconstruct(pair: Pair, audit: Audit, batch: Batch) -> Draws:
    """Encode each datum to its posterior mean, and decode that."""
    return decode(pair, audit, batch, posterior_means(pair, audit, batch))


class _Unobserve(Messenger):
    """Samples one observed site as if it were not, whatever data the program holds to it."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == self.site and msg["is_observed"]:
            msg["is_observed"], msg["value"], msg["done"] = False, None, False


def _data_site(audit: Audit) -> str:
    if not audit.supports:
        raise InputError(
            "no site of the model observes x itself, so that there is no picture of what it makes; "
            "observe x whole, as in pyro.sample('x', ..., obs=x)"
        )
    return next(iter(audit.supports))


def _mean(node: Any) -> Tensor:
    try:
        mean: Tensor = node["fn"].mean
    except NotImplementedError:
        mean = node["value"]
    return mean.to(torch.get_default_dtype()).expand(node["value"].shape)
