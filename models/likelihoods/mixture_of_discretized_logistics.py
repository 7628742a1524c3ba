"""8-bit images by mixtures of discretized logistics, for grey levels with several modes."""

from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.discretized_logistic import MixtureOfDiscretizedLogistics as Elements
from ppvae.distributions.grid import Grid
from ppvae.errors import InputError
from ppvae.models.likelihoods.discretized_logistic import ROOT, check_levels, logistic
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.networks import Shape, inverse_positive


class MixtureOfDiscretizedLogistics(Likelihood):
    """P(x | z) = prod_d sum_i w_di P(x_d; loc_di, scale_di), with `DiscretizedLogistic` terms.

    The family is that of PixelCNN++ (Salimans et al., 2017), except that the channels of a pixel
    are independent given z, as all elements are. The decoder gives first the logits of the weights,
    then locs, then log scales, the latter two as for `DiscretizedLogistic`.

    Args:
        data_shape: shape of one datum.
        components: number of logistics in an element's mixture.
        levels: number of grey levels; data are multiples of 1 / (levels - 1).

    Raises:
        InputError: for no components, or fewer than 2 levels, or more than 65536.
    """

    params_per_element = 30
    support = Grid(256)
    levels = 256

    def __init__(self, data_shape: Shape, components: int = 10, levels: int = 256) -> None:
        super().__init__(data_shape)
        check_levels(levels)
        if components < 1:
            raise InputError(f"`likelihood.components` is {components}; a mixture has at least 1")
        self.params_per_element = 3 * components
        self.levels, self.support = levels, Grid(levels)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # Half of the variance is between the components, whose locs are evenly spread.
        data, terms = moments(x, mask), self.params_per_element // 3
        spread = torch.linspace(-1, 1, terms, dtype=torch.double) if terms > 1 else torch.zeros(1)
        between = 0.5 if terms > 1 else 0.0
        places = spread * (between / spread.square().mean().clamp(min=1e-9)).sqrt()
        offsets = places.reshape(-1, *[1] * data.mean.dim()) * data.deviation
        log_scale = inverse_positive(2 * ROOT * (1 - between) ** 0.5 * data.deviation)
        loc = 2 * (data.mean + offsets) - 1
        return torch.cat([torch.zeros_like(loc), loc, log_scale.expand_as(loc)])

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        parts = h.movedim(-len(self.data_shape) - 1, -1)
        logits, loc, log_scale = parts.chunk(3, -1)
        components = logistic(loc, log_scale, self.levels)
        return self._independent(Elements(dist.Categorical(logits=logits), components))
