"""Binary data: each element of x is 0 or 1."""

from typing import override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import log_odds, moments


class Bernoulli(Likelihood):
    """p(x | z) = prod_d l_d^x_d (1 - l_d)^(1 - x_d): zeros and ones only.

    The decoder gives the logit of l. Grey values are not in its support: binarize them, or take
    `ContinuousBernoulli` or `DiscretizedLogistic`.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.boolean

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        data = moments(x, mask)
        return log_odds(data.total, data.count).unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        return self._independent(dist.Bernoulli(logits=logits))
