"""Counts with a multiplied mean: how size factors scale x outside of the network."""

from functools import singledispatch
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.negative_binomial import NegativeBinomial
from ppvae.distributions.poisson import Poisson
from ppvae.distributions.zero_inflated import ZeroInflated
from ppvae.errors import InputError


@singledispatch
def scaled(fn: Any, factor: Tensor) -> dist.TorchDistribution:  # noqa: ARG001  # as its branches
    """The distribution of the same family with ``factor`` times the mean of ``fn``.

    A rate is multiplied, m to s m. The inverse dispersion of a negative binomial stays, so that its
    variance becomes s m + (s m)^2 / r, and so does the probability of an excess zero. Register your
    own family by ``scaled.register``.

    Args:
        fn: the distribution of counts.
        factor: s, above 0.

    Shapes: ``factor`` broadcasts to ``fn``'s batch shape.

    Raises:
        InputError: for a family without a mean to scale.
    """
    raise InputError(
        f"the data have size factors, which multiply the mean of counts, and x is observed at "
        f"{type(fn).__name__}, which has no such mean; take `likelihood='NegativeBinomial'` "
        "(or Poisson, ZeroInflated), or leave them out by `size_factor='none'`"
    )


@scaled.register
def _of_independent(
    fn: torch.distributions.Independent,  # type: ignore[type-arg]  # a dispatch reads it at run time
    factor: Tensor,
) -> dist.TorchDistribution:
    dims = fn.reinterpreted_batch_ndims
    elements = scaled(cast("Any", fn.base_dist), factor.reshape(*factor.shape, *(1,) * dims))
    return cast("dist.TorchDistribution", elements.to_event(dims))


@scaled.register
def _(fn: torch.distributions.Poisson, factor: Tensor) -> dist.TorchDistribution:
    return Poisson(fn.rate * factor)


@scaled.register
def _(fn: NegativeBinomial, factor: Tensor) -> dist.TorchDistribution:
    return NegativeBinomial(fn.log_mean + factor.log(), fn.log_inverse_dispersion)


@scaled.register
def _(fn: torch.distributions.NegativeBinomial, factor: Tensor) -> dist.TorchDistribution:
    logits = fn.logits + factor.log()
    return cast("dist.TorchDistribution", dist.NegativeBinomial(fn.total_count, logits=logits))


@scaled.register
def _(fn: dist.ZeroInflatedDistribution, factor: Tensor) -> dist.TorchDistribution:
    return ZeroInflated(scaled(fn.base_dist, factor), cast("Tensor", fn.gate_logits))
