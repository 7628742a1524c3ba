"""Sites with another element-wise log-density: of steps, or of some elements."""

from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

type OfElements = Callable[[Any, Tensor], Tensor]
"""A function from the distribution of elements and their values to a log-density of each."""


class Elementwise(Messenger):
    """A handler under which an observed site has another log-density.

    Args:
        site: the site.
        of: the log-density of its elements.
    """

    def __init__(self, site: str, of: OfElements) -> None:
        super().__init__()
        self._site, self._of = site, of

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == self._site and msg["is_observed"]:
            msg["fn"] = _Other(msg["fn"], self._of)


class _Other(dist.TorchDistribution):
    """A distribution with another log-density."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, fn: Any, of: OfElements) -> None:
        super().__init__(fn.batch_shape, fn.event_shape)
        self._fn, self._of = fn, of

    @property
    def support(self) -> Any:
        """As for the density."""
        return self._fn.support

    @property
    def mean(self) -> Tensor:
        """As for the density."""
        mean: Tensor = self._fn.mean
        return mean

    def log_prob(self, value: Tensor) -> Tensor:
        return by_elements(self._fn, value, self._of)


def by_elements(fn: Any, value: Tensor, of: OfElements) -> Tensor:
    """``fn.log_prob(value)`` with another log-density of the elements."""
    if isinstance(fn, torch.distributions.Independent):
        inner = by_elements(fn.base_dist, value, of)
        dims = tuple(range(-fn.reinterpreted_batch_ndims, 0))
        return inner.sum(dims) if dims else inner
    if isinstance(fn, dist.MaskedDistribution):
        every = by_elements(fn.base_dist, value, of)
        return every.where(torch.as_tensor(fn._mask, device=every.device), 0)
    if isinstance(fn, dist.ExpandedDistribution):
        return by_elements(fn.base_dist, value, of).expand(fn.batch_shape)
    return of(fn, value)
