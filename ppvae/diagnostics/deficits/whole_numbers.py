"""Integers under a density of real numbers: the gain of a likelihood of counts.

Both are compared, and trained, as probabilities of the step around an integer (see `baselines`): a
density at integers is unbounded, and a short training would exploit that.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, override

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from ppvae.diagnostics.baselines.whole_numbers import Binning, Steps
from ppvae.models.likelihoods import Likelihood, NegativeBinomial

SHARP = 4.0
"""Sharpness, per count, of the softplus that keeps a rate positive."""


class Probabilities(Binning):
    """A handler that turns densities into probabilities of steps, like those of counts."""

    @override
    def _pyro_sample(self, msg: Any) -> None:
        if not _is_counted(msg["fn"]):
            super()._pyro_sample(msg)


class Counted(Likelihood):
    """A likelihood of counts, for x that is scaled counts: raw = x * scale + loc.

    Args:
        of_counts: the likelihood of raw.
        steps: how x is made from raw.
    """

    support = constraints.real
    loc: Tensor
    scale: Tensor

    def __init__(self, of_counts: NegativeBinomial, steps: Steps) -> None:
        super().__init__(of_counts.data_shape)
        self.of_counts = of_counts
        for name, value in (("loc", steps.loc), ("scale", steps.scale)):
            like = value.reshape(self.data_shape) if value.numel() > 1 else value.reshape(())
            self.register_buffer(name, like.to(torch.get_default_dtype()))

    def raw(self, x: Tensor) -> Tensor:
        """Map x to the scale of the counts."""
        return x * self.scale.to(x) + self.loc.to(x)

    @override
    def forward(self, h: Tensor) -> dist.TorchDistribution:
        counts: Any = self.of_counts(h)
        return self._independent(_InSteps(counts.base_dist, self.loc, self.scale))


class Rate(nn.Module):
    """The log rate of counts, from a network that gives the mean of x."""

    def __init__(self, network: nn.Module, likelihood: Counted) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("loc", likelihood.loc)
        self.register_buffer("scale", likelihood.scale)

    @override
    def forward(self, z: Tensor) -> Tensor:
        mean = self.network(z) * self.scale + self.loc
        return F.softplus(mean, beta=SHARP).clamp(min=1e-3).log()


class _InSteps(dist.TorchDistribution):
    """The distribution of x = (n - loc) / scale for counts n; elementwise."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real

    def __init__(self, counts: Any, loc: Tensor, scale: Tensor) -> None:
        super().__init__(counts.batch_shape)
        self._counts, self._loc, self._scale = counts, loc, scale

    @override
    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "_InSteps":
        return _InSteps(self._counts.expand(batch_shape), self._loc, self._scale)

    @property
    @override
    def mean(self) -> Tensor:
        mean: Tensor = (self._counts.mean - self._loc) / self._scale
        return mean

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn: Tensor = self._counts.sample(torch.Size(sample_shape))
        return (drawn - self._loc) / self._scale

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        raw = (value * self._scale + self._loc).round().clamp(min=0)
        log_prob: Tensor = self._counts.log_prob(raw)
        return log_prob


def _is_counted(fn: Any) -> bool:
    while isinstance(fn, (torch.distributions.Independent, dist.MaskedDistribution)):
        fn = fn.base_dist
    return isinstance(fn, _InSteps)
