"""Grey values in [0, 1], by a density that looks like a Bernoulli's probability."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.models.likelihoods.likelihood import Likelihood


class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_d C(l_d) l_d^x_d (1 - l_d)^(1 - x_d) on [0, 1]: grey values as they are.

    The constant C makes it a density (Loaiza-Ganem and Cunningham, 2019), so log p(x) may be above
    zero. The decoder gives the logit of l, which is not the mean.

    Args:
        data_shape: shape of one datum.
    """

    support = constraints.unit_interval

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        (logits,) = self._split(h)
        fn: dist.TorchDistribution = dist.ContinuousBernoulli(logits=logits).to_event(
            len(self.data_shape)
        )
        return fn
