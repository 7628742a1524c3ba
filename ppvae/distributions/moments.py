"""Mean and standard deviation of what a program draws; and a program that draws its means."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

DRAWS = 128
"""Draws that stand for a family whose moments have no closed form: the variance of their mean is
1/128 of a draw's, less than the 0.01 that makes a unit active."""


def moments(fn: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a distribution, elementwise: each of its sample's shape.

    In closed form where the family has them, else of `DRAWS` draws.
    """
    try:
        mean, stddev = fn.mean, fn.stddev
    except NotImplementedError:
        draws = torch.stack([fn.sample() for _ in range(DRAWS)])
        return draws.mean(0), draws.std(0)
    shape = fn.shape()
    return mean.expand(shape), stddev.expand(shape)


class AtMeans(Messenger):
    """Takes each latent at its mean, and so those after it given the means of those before.

    A class has no mean, and is taken at its most probable value. A latent whose mean is no value
    that it can take, as of other discrete ones and of directions, is drawn.

    Attributes:
        moments: mean and standard deviation, as of `moments`, of each site that is not a class.
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
