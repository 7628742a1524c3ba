"""8-bit images as integers: a logistic density in bins."""

import math
from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.discretized_logistic import DiscretizedLogistic as Elements
from ppvae.distributions.grid import Grid
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.models.likelihoods.marginal_moments import moments
from ppvae.networks import Shape, inverse_positive, positive

ROOT = math.sqrt(3) / math.pi
"""The scale of a logistic with standard deviation 1."""

MOST = 65536
"""Levels of a 16-bit image, the most that single precision distinguishes."""


class DiscretizedLogistic(Likelihood):
    """P(x = k / 255 | z): the mass of a logistic density in the bin of level k, for 256 levels.

    The outer bins are open: all mass below black is black (Kingma et al., 2016; Salimans et al.,
    2017). As it is a probability, bits per dimension are comparable with other models of 8-bit
    images, and a variance cannot profit from going to zero. The decoder gives loc and log scale on
    the scale -1 to 1, as in Salimans et al.; x itself is in [0, 1].

    Args:
        data_shape: shape of one datum.
        levels: number of grey levels; data are multiples of 1 / (levels - 1).

    Raises:
        InputError: if there are fewer than 2 levels, or more than 65536.
    """

    params_per_element = 2
    support = Grid(256)
    levels = 256

    def __init__(self, data_shape: Shape, levels: int = 256) -> None:
        super().__init__(data_shape)
        check_levels(levels)
        self.levels, self.support = levels, Grid(levels)

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        data = moments(x, mask)
        return torch.stack([2 * data.mean - 1, inverse_positive(2 * ROOT * data.deviation)])

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        loc, log_scale = self._split(h)
        return self._independent(logistic(loc, log_scale, self.levels))


def logistic(loc: Tensor, log_scale: Tensor, levels: int) -> Elements:
    """A discretized logistic on [0, 1], by its loc and log scale on [-1, 1]."""
    return Elements((loc + 1) / 2, positive(log_scale) / 2, levels)


def check_levels(levels: int) -> None:
    """Refuse a number of levels below 2 or too large for single precision."""
    if not 2 <= levels <= MOST:
        raise InputError(f"`likelihood.levels` is {levels}; an image has 2 to {MOST} levels")
