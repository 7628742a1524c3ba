"""Generation from a model: samples, reconstructions, decoded points.

All of it is read from traces, and so works for any pair of programs. Pictures show the mean of
p(x | z) where the family has one, else a draw.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.data import Batch
from ppvae.distributions.moments import AtMeans
from ppvae.distributions.per_column import PerColumn
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit
from ppvae.programs.sites import base


class Generated(NamedTuple):
    """Mean of p(x | z) and a draw from it, both ``(n, *data_shape)``.

    For a category of a mixed table, ``mean`` is the most probable level.
    """

    mean: Tensor
    draw: Tensor


def generate(pair: Pair, audit: Audit, like: Batch) -> Generated:
    """Draw z ~ p(z), then x ~ p(x | z), as many as ``like`` has rows, in its shape.

    The model gets from ``like`` only the shape of x, and labels or covariates if it is conditional
    on them.
    """
    return decode(pair, audit, like, {})


def decode(pair: Pair, audit: Audit, like: Batch, latents: Mapping[str, Tensor]) -> Generated:
    """Draw x ~ p(x | z) at given latents, by site; latents not given are drawn from the model."""
    site = audit.data_site
    # Only the data site is freed: labels that a model observes as well stay observed.
    with evaluating(pair), _Unobserve(site):
        model = (
            poutine.condition(pair.call_model, data=dict(latents)) if latents else pair.call_model
        )
        node: Any = poutine.trace(model).get_trace(**like).nodes[site]
    shape = like["x"].shape  # a program may observe x in another shape
    mean, value = _mean(node), node["value"]
    if value.numel() != like["x"].numel():
        return Generated(mean, value)
    return Generated(mean.reshape(shape), value.reshape(shape))


def posterior_means(pair: Pair, audit: Audit, batch: Batch) -> dict[str, Tensor]:
    """E_q[z | x] of each latent site, in the site's own shape.

    For a latent below others it is the mean given the means of those above. A class has no mean;
    the most probable class replaces it, and later latents are given that class.
    """
    with evaluating(pair), AtMeans():
        trace: Any = poutine.trace(pair.call_guide).get_trace(**batch)
    return {name: trace.nodes[name]["value"] for name in audit.latents}


def reconstruct(pair: Pair, audit: Audit, batch: Batch) -> Generated:
    """Encode each datum to its posterior mean, and decode the mean."""
    return decode(pair, audit, batch, posterior_means(pair, audit, batch))


class _Unobserve(Messenger):
    """Samples one observed site as if it were not observed."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == self.site and msg["is_observed"]:
            msg["is_observed"], msg["value"], msg["done"] = False, None, False


def _mean(node: Any) -> Tensor:
    elements = base(node["fn"])
    try:
        mean: Tensor = elements.point if isinstance(elements, PerColumn) else node["fn"].mean
    except NotImplementedError:
        mean = node["value"]
    return mean.to(torch.get_default_dtype()).expand(node["value"].shape)
