"""Grey images under a Bernoulli likelihood, as in Pyro's example of a semi-supervised VAE."""

from typing import Any, override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.models import Bernoulli


class GreyBernoulli(Bernoulli):
    """sum_d x_d log l_d + (1 - x_d) log(1 - l_d) of grey values: the mean over their binary draws.

    It is no density of grey images. The guide sees the grey values instead of one draw of them.
    """

    support: Any = constraints.unit_interval

    @override
    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        return self._independent(_Grey(logits=logits))


class _Grey(dist.Bernoulli):  # type: ignore[misc]  # Pyro does not type it
    support = constraints.unit_interval
