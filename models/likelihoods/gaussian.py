"""Squared error as a likelihood, weighted by a variance that is given, learned or computed."""

from typing import Literal, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.optimal_normal import OptimalNormal
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.models.likelihoods.positive_number import WORDS, PositiveNumber, check_floor
from ppvae.models.likelihoods.running_mean import RunningMean, check_momentum
from ppvae.networks import Shape, inverse_positive, positive


class Gaussian(Likelihood):
    """p(x | z) = N(x; loc(z), c I): squared error, weighted by 1 / (2 c).

    The variance c balances reconstruction and prior: the larger c, the more the prior counts.
    Without a floor, a decoder that copies x sends c to 0 and the density to infinity (Mattei and
    Frellsen, 2018). It is a density: log p(x) may be above zero, and changes with the unit of x.

    - A number: c, fixed.
    - "learned": one parameter for all elements, floor + softplus.
    - "per-element": such a parameter for each element of x, as for columns of a table.
    - "optimal": the mean square error, which is the best c (sigma-VAE; Rybkin et al., 2021). In
      training each batch has its own, over all its observed elements, and the gradient is that with
      c held fixed: the slope in c is zero there (envelope theorem; at the floor c is constant).
      That couples the data of a batch, so evaluation takes a running mean, which is saved with the
      weights and updated, like batch normalization's, whenever data are scored in training mode
      with gradients recorded. Each process of a distributed run has the running mean of its own
      share. It is for bounds in which all draws count alike: where draws have weights, of
      enumerated classes or of K draws per datum, another variance is best, and the gradient with c
      held is not that of the bound. The audit refuses those.
    - "per-pixel": the decoder gives loc and log scale of each element (Kingma and Welling, 2014);
      the variance is floor + scale^2.

    Args:
        data_shape: shape of one datum.
        variance: c, a number above zero, or "learned", "per-element", "optimal" or "per-pixel".
        floor: the smallest variance unless it is a given number, in squared units of x.
        momentum: weight of the newest batch in the running mean of "optimal".

    Raises:
        InputError: if the variance or the floor is not above zero, or the momentum not in (0, 1].

    Example::

        model = VAE(StandardNormal(10), Gaussian((3,), variance="optimal"))
    """

    support = constraints.real

    def __init__(
        self,
        data_shape: Shape,
        variance: float | Literal["learned", "per-element", "optimal", "per-pixel"] = "learned",
        floor: float = 1e-4,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(data_shape)
        check_floor("likelihood.variance", floor)
        check_momentum(momentum)
        self.floor = floor
        self.shared: PositiveNumber | RunningMean | None = None
        if variance == "per-pixel":
            self.params_per_element = 2
        elif variance == "optimal":
            self.shared = RunningMean(momentum, floor)
        elif isinstance(variance, str) and variance not in WORDS:
            raise InputError(
                f"`likelihood.variance` is '{variance}'; give a number above 0, 'learned', "
                "'per-element', 'optimal' or 'per-pixel'"
            )
        else:
            self.shared = PositiveNumber(
                "likelihood.variance", variance, floor, shape=self.data_shape
            )

    @property
    def variance(self) -> Tensor:
        """The variance c, in squared units of x: a scalar, or ``data_shape`` for "per-element".

        Raises:
            InputError: if each datum has its own.
        """
        if self.shared is None:
            raise InputError(
                "`likelihood.variance` is 'per-pixel', so that each datum has its own; take "
                "that of the distribution, likelihood(h).variance"
            )
        shared: Tensor = self.shared()
        return shared

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        data = moments(x, mask)
        if self.shared is None:
            above = (data.deviation.square() - self.floor).clamp(min=self.floor)
            return torch.stack([data.mean, inverse_positive(above.sqrt())])
        is_shared = isinstance(self.shared, RunningMean) or not self.shared.is_per_element
        self.shared.start_at(data.pooled_variance if is_shared else data.deviation.square())
        return data.mean.unsqueeze(0)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        loc, *log_scale = self._split(h)
        if log_scale:
            scale = (positive(log_scale[0]).square() + self.floor).sqrt()
        else:
            scale = self.variance.sqrt()
        if isinstance(self.shared, RunningMean):
            record = self.shared.add if self.training else None
            return self._independent(OptimalNormal(loc, scale, self.floor, record))
        return self._independent(dist.Normal(loc, scale))
