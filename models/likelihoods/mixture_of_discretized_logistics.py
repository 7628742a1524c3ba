"""8-bit images by several logistic densities, binned: grey levels with more than one mode."""

import pyro.distributions as dist
from torch import Tensor

from ppvae.distributions.discretized_logistic import MixtureOfDiscretizedLogistics as Elements
from ppvae.distributions.grid import Grid
from ppvae.errors import InputError
from ppvae.models.likelihoods.discretized_logistic import check_levels, logistic
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.networks import Shape


class MixtureOfDiscretizedLogistics(Likelihood):
    """P(x | z) = prod_d sum_i w_di P(x_d; loc_di, scale_di), with `DiscretizedLogistic` terms.

    The family is that of PixelCNN++ (Salimans et al., 2017), but for the channels of a pixel, which
    are independent given z, as all elements are. The decoder gives first the logits of the weights,
    then locs, then log scales, these two as for `DiscretizedLogistic`.

    Args:
        data_shape: shape of one datum.
        components: number of logistics in an element's mixture.
        levels: number of grey levels; data are multiples of 1 / (levels - 1).

    Raises:
        InputError: if there is no component, or fewer than 2 levels, or more than 65536.
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

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        parts = h.movedim(-len(self.data_shape) - 1, -1)
        logits, loc, log_scale = parts.chunk(3, -1)
        components = logistic(loc, log_scale, self.levels)
        return self._independent(Elements(dist.Categorical(logits=logits), components))
