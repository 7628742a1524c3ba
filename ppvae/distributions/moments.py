"""Mean and standard deviation of sites, and a handler that sets latents to their means."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

DRAWS = 128
"""Draws for a family whose moments have no closed form: the variance of their mean is 1/128 of that
of a draw, less than the 0.01 that makes a unit active."""


def moments(fn: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a distribution, elementwise, in the shape of its samples.

    In closed form where the family has them, else from `DRAWS` draws.
    """
    try:
        mean, stddev = fn.mean, fn.stddev
    except NotImplementedError:
        draws = torch.stack([fn.sample() for _ in range(DRAWS)])
        return draws.mean(0), draws.std(0)
    shape = fn.shape()
    return mean.expand(shape), stddev.expand(shape)


class AtMeans(Messenger):
    """Sets each latent to its mean, and so later latents to means given those.

    A class has no mean; it is set to its most probable value. A latent that cannot take its mean,
    such as other discrete ones and directions, is drawn.

    Attributes:
        moments: mean and standard deviation, from `moments`, of each site that is not a class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if msg["is_observed"] or site_is_subsample(msg):
            return
        if fn.has_enumerate_support:
            while isinstance(fn, dist.MaskedDistribution):
                fn = fn.base_dist
            msg["value"], msg["done"] = fn.mode, True
            return
        self.moments[msg["name"]] = mean, _ = moments(fn)
        if bool(fn.support.check(mean).all()):
            msg["value"], msg["done"] = mean, True
