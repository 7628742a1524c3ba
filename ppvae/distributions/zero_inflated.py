"""Counts with more zeros than a distribution of counts explains."""

from typing import cast, override

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F


class ZeroInflated(dist.ZeroInflatedDistribution):
    """P(x) = g [x = 0] + (1 - g) base(x) (Lambert, 1992).

    Pyro's version subtracts a large gate logit from itself, which loses the counts' part of the
    log-probability in single precision; here all terms of each case are small.

    Args:
        base_dist: the counts, element by element.
        gate_logits: log-odds of g.
    """

    def __init__(
        self,
        base_dist: dist.TorchDistribution,
        gate_logits: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(base_dist, gate_logits=gate_logits, validate_args=validate_args)

    @property
    def gate(self) -> Tensor:
        """The probability g of an excess zero."""
        return cast("Tensor", self.gate_logits).sigmoid()

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        counts = cast("Tensor", self.base_dist.log_prob(value))
        counted = F.logsigmoid(-self.gate_logits) + counts
        unseen = F.logsigmoid(self.gate_logits)
        # A log of summed exponentials with a finite second derivative, unlike logaddexp's.
        zero = torch.maximum(unseen, counted) + F.softplus(-(unseen - counted).abs())
        return torch.where(value == 0, zero, counted)
