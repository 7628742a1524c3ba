"""Counts with more zeros than counting explains: what was there was sometimes not seen."""

from typing import Literal

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.zero_inflated import ZeroInflated as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.negative_binomial import NegativeBinomial
from ppvae.models.likelihoods.poisson import Poisson
from ppvae.networks import Shape

COUNTS = {"Poisson": Poisson, "NegativeBinomial": NegativeBinomial}


class ZeroInflated(Likelihood):
    """p(x | z) = prod_d (g_d [x_d = 0] + (1 - g_d) p(x_d)): a zero is a count, or no count at all.

    The counts are `Poisson` (Lambert, 1992) or `NegativeBinomial` (ZINB; Lopez et al., 2018, for
    single-cell counts). The decoder gives the logit of g, then what the counts ask for.

    Args:
        data_shape: shape of one datum.
        counts: "Poisson" or "NegativeBinomial".

    Raises:
        InputError: if the counts are neither.
    """

    params_per_element = 2
    support = constraints.nonnegative_integer

    def __init__(
        self,
        data_shape: Shape,
        counts: Literal["Poisson", "NegativeBinomial"] = "NegativeBinomial",
    ) -> None:
        super().__init__(data_shape)
        if counts not in COUNTS:
            raise InputError(f"`likelihood.counts` is '{counts}'; take one of {', '.join(COUNTS)}")
        self.counts = COUNTS[counts](data_shape)
        self.params_per_element = 1 + self.counts.params_per_element

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        dim = -len(self.data_shape) - 1
        gate_logits, h = h.split([1, self.counts.params_per_element], dim)
        counts = self.counts(h).base_dist
        return self._independent(Elements(counts, gate_logits.squeeze(dim)))
