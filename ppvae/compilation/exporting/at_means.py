"""A handler that sets sites to their means, so that a program draws nothing."""

from typing import Any

import pyro.distributions as dist
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.distributions.per_column import PerColumn
from ppvae.errors import InputError
from ppvae.programs.sites import base, family_name, is_subsample


class AtClosedMeans(Messenger):
    """Sets each site to its mean in closed form; a class, or a category of a table, to its mode.

    Args:
        freed: observed sites that are set too.

    Attributes:
        moments: mean and standard deviation of each site that is not a class.
        families: the distribution at each of these.

    Raises:
        InputError: for a site whose family has no mean in closed form.
    """

    def __init__(self, *freed: str) -> None:
        super().__init__()
        self._freed = freed
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}
        self.families: dict[str, Any] = {}

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        is_given = msg["is_observed"] and name not in self._freed
        if is_given or is_subsample(msg):
            return
        is_freed = name in self._freed
        if fn.has_enumerate_support and not is_freed:
            while isinstance(fn, dist.MaskedDistribution):
                fn = fn.base_dist
            msg["value"] = fn.mode
        else:
            msg["value"] = self._mean(name, fn, needs_deviation=not is_freed)
        msg["is_observed"], msg["done"] = False, True

    def _mean(self, name: str, fn: Any, *, needs_deviation: bool) -> Tensor:
        shape, elements = fn.shape(), base(fn)
        try:
            mean: Tensor = elements.point if isinstance(elements, PerColumn) else fn.mean
            mean = mean.expand(shape)
            deviation = fn.stddev.expand(shape) if needs_deviation else mean
        except NotImplementedError as error:
            raise InputError(
                f"site '{name}' is {family_name(fn)}, which has no mean and deviation in closed "
                "form; take them from draws by `ppvae.encode`, or fit a guide that has them, such "
                "as MeanField"
            ) from error
        self.moments[name], self.families[name] = (mean, deviation), fn
        return mean
