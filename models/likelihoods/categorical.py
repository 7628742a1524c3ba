"""Grey levels or classes without an order: a probability for each."""

from typing import Any, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions.categorical import Categorical as Elements
from ppvae.errors import InputError
from ppvae.models.likelihoods.likelihood import Likelihood
from ppvae.networks import Shape

LARGEST = 255
"""The largest value that counts as a class, where the number of classes is inferred."""


class Categorical(Likelihood):
    """p(x | z) = prod_d softmax(logits_d)_{x_d}: elements are class numbers 0, 1, ...

    The decoder gives a logit for each class and element, so that any distribution can be fitted,
    also with several modes; neighbouring levels share nothing (van den Oord et al., 2016, for
    pixels of 256 levels). The mean is the expected class number.

    Args:
        data_shape: shape of one datum.
        classes: number of classes; data are the integers below it.

    Raises:
        InputError: if there are fewer than 2 classes.
    """

    params_per_element = 17
    support = constraints.integer_interval(0, 16)
    levels = 17

    def __init__(self, data_shape: Shape, classes: int = 17) -> None:
        super().__init__(data_shape)
        if classes < 2:
            raise InputError(f"`likelihood.classes` is {classes}; there must be at least 2")
        self.params_per_element = self.levels = classes
        self.support = constraints.integer_interval(0, classes - 1)

    @override
    @classmethod
    def arguments_for(cls, x: Tensor) -> dict[str, Any] | None:
        if not constraints.integer_interval(0, LARGEST).check(x).all():
            return None
        classes = max(int(x.max()) + 1, 2)
        return {} if classes == cls.levels else {"classes": classes}

    @override
    def fit_marginal(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        classes = range(self.params_per_element)
        counts = torch.stack([((x == k) & seen).double().sum(0) for k in classes])
        return (counts + 0.5).log() - (counts.sum(0) + 0.5 * len(counts)).log()

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        logits = h.movedim(-len(self.data_shape) - 1, -1)
        return self._independent(Elements(logits=logits))
