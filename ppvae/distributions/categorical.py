"""Classes as floating-point numbers, like the data, with a mean."""

from collections.abc import Sequence
from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor


class Categorical(dist.Categorical):
    """P(x = k) = softmax(logits)_k, for the numbers k = 0, 1, ...

    Torch's version draws integers, which no network takes, and has no mean.

    Args:
        logits: ``(..., classes)``.

    Shapes: batch ``(...)``; the event is one number.
    """

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # Without validation an unknown class has probability 0; torch would fail on it.
        known = value.long().clamp(0, self.logits.shape[-1] - 1)
        shape = torch.broadcast_shapes(value.shape, self.logits.shape[:-1])
        logits = self.logits.expand(*shape, -1)
        log_prob: Tensor = logits.gather(-1, known.expand(shape)[..., None])[..., 0]
        return log_prob.masked_fill(known != value, -torch.inf)

    @override
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        classes: Tensor = super().sample(torch.Size(sample_shape))
        return classes.to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """The expected number."""
        return (self.probs * self._numbers).sum(-1)

    @property
    def variance(self) -> Tensor:
        """The variance of the number."""
        return (self.probs * (self._numbers - self.mean[..., None]).square()).sum(-1)

    @property
    def _numbers(self) -> Tensor:
        return torch.arange(
            self.logits.shape[-1], dtype=self.logits.dtype, device=self.logits.device
        )
