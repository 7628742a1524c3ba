"""Counts with more zeros than a distribution of counts explains, as when some were not observed."""

from typing import Literal, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.scaled_mean import scaled
from ppvae.distributions.zero_inflated import ZeroInflated as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.models.likelihoods.negative_binomial import Dispersion, NegativeBinomial
from ppvae.models.likelihoods.poisson import Poisson, inverse_log_rate, marginal_log_rate
from ppvae.networks import Shape

COUNTS = {"Poisson": Poisson, "NegativeBinomial": NegativeBinomial}
GATES = (0.01, 0.99)
"""Range of the probabilities of an excess zero at the start of training."""
ROUNDS = 50
"""Iterations of the fixed point that gives them and the mean."""
QUANTILES = 16
"""Number of quantiles that represent the size factors of all rows."""


class ZeroInflated(Likelihood):
    """p(x | z) = prod_d (g_d [x_d = 0] + (1 - g_d) p(x_d)): a zero is a count or an excess zero.

    The counts are `Poisson` (Lambert, 1992) or `NegativeBinomial` (ZINB; Lopez et al., 2018, for
    single-cell counts). The decoder gives the logit of g, then the parameters of the counts.

    Args:
        data_shape: shape of one datum.
        counts: "Poisson" or "NegativeBinomial".
        dispersion: that of a `NegativeBinomial`; see there.
        y_size: number of classes, or of covariates, of y; 0 where the model is not conditional.

    Raises:
        InputError: for unknown counts, or Poisson counts with a dispersion.
    """

    params_per_element = 2
    support = constraints.nonnegative_integer

    def __init__(
        self,
        data_shape: Shape,
        counts: Literal["Poisson", "NegativeBinomial"] = "NegativeBinomial",
        dispersion: Dispersion = "gene",
        y_size: int = 0,
    ) -> None:
        super().__init__(data_shape)
        if counts not in COUNTS:
            raise InputError(f"`likelihood.counts` is '{counts}'; take one of {', '.join(COUNTS)}")
        self.counts: Poisson | NegativeBinomial
        if counts == "NegativeBinomial":
            self.counts = NegativeBinomial(data_shape, dispersion, y_size)
        elif dispersion == "gene":
            self.counts = Poisson(data_shape)
        else:
            raise InputError(
                f"`likelihood.dispersion` is '{dispersion}', and Poisson counts have none; take "
                "`likelihood.counts='NegativeBinomial'`, or leave it out"
            )
        self.params_per_element = 1 + self.counts.params_per_element

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.fit_scaled_marginal(x, x.new_ones(len(x)), mask)

    @override
    def fit_scaled_marginal(
        self, x: Tensor, size_factor: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        none = x == 0 if mask is None else (x == 0) & mask
        data, log_mean = moments(x, mask), marginal_log_rate(x, mask, size_factor)
        zeros = (none.sum(0) + 0.5) / (data.count + 1)
        counted_h = self.counts.fit_scaled_marginal(x, size_factor, mask)
        s = size_factor.double().unique()
        if len(s) > QUANTILES:
            s = size_factor.double().quantile((torch.arange(QUANTILES) + 0.5).to(s) / QUANTILES)
        gate = torch.zeros_like(zeros)

        def h() -> Tensor:  # the gate has the zeros that the counts do not explain, at the mean
            first = inverse_log_rate(log_mean - (-gate).log1p()).unsqueeze(0)
            return torch.cat([first, counted_h[1:].to(first)])

        for _ in range(ROUNDS):
            each = self.counts(h().expand(len(s), *h().shape))
            log_p = scaled(each, s).base_dist.log_prob(torch.zeros_like(zeros))
            counted = log_p.exp().mean(0)
            gate = ((zeros - counted) / (1 - counted)).clamp(*GATES)
        return torch.cat([gate.logit().unsqueeze(0), h()])

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        gate_logits, h = self._gate_and_rest(h)
        return self._independent(Elements(self.counts(h).base_dist, gate_logits))

    @override
    def given(self, h: Tensor, y: Tensor) -> dist.TorchDistribution:
        gate_logits, h = self._gate_and_rest(h)
        return self._independent(Elements(self.counts.given(h, y).base_dist, gate_logits))

    def _gate_and_rest(self, h: Tensor) -> tuple[Tensor, Tensor]:
        dim = -len(self.data_shape) - 1
        gate_logits, h = h.split([1, self.counts.params_per_element], dim)
        return gate_logits.squeeze(dim), h
