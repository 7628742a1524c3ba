"""Counts with more zeros than counting explains: what was there was sometimes not seen."""

from typing import Literal, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.zero_inflated import ZeroInflated as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.models.likelihoods.negative_binomial import NegativeBinomial
from ppvae.models.likelihoods.poisson import Poisson, inverse_log_rate, marginal_log_rate
from ppvae.networks import Shape

COUNTS = {"Poisson": Poisson, "NegativeBinomial": NegativeBinomial}
GATES = (0.01, 0.99)
"""Probabilities of a zero that is no count, from which training may start."""
ROUNDS = 50
"""Rounds of the fixed point that they and the mean are found by."""


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

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        none = x == 0 if mask is None else (x == 0) & mask
        data, log_mean = moments(x, mask), marginal_log_rate(x, mask)
        zeros = (none.sum(0) + 0.5) / (data.count + 1)
        self.counts.fit_marginal(x, mask)
        gate = torch.zeros_like(zeros)
        for _ in range(ROUNDS):  # the gate takes the zeros that the counts leave over, at the mean
            h = inverse_log_rate(log_mean - (-gate).log1p()).unsqueeze(0)
            counted = self.counts(h).base_dist.log_prob(torch.zeros_like(zeros)).exp()
            gate = ((zeros - counted) / (1 - counted)).clamp(*GATES)
        h = inverse_log_rate(log_mean - (-gate).log1p()).unsqueeze(0)
        return torch.cat([gate.logit().unsqueeze(0), h])

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        dim = -len(self.data_shape) - 1
        gate_logits, h = h.split([1, self.counts.params_per_element], dim)
        counts = self.counts(h).base_dist
        return self._independent(Elements(counts, gate_logits.squeeze(dim)))
