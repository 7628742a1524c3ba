"""Successes among a number of trials that is the same everywhere."""

from collections.abc import Sequence
from typing import Any, override

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

__all__ = ["Binomial"]


class Binomial(dist.Binomial):
    """The binomial with one number of trials: a support that holds for a batch of any size.

    Args:
        trials: number of trials n.
        logits: log-odds of a success.

    Shapes: elementwise.
    """

    def __init__(self, trials: int, logits: Tensor, validate_args: bool | None = None) -> None:
        self.trials = trials
        super().__init__(trials, logits=logits, validate_args=validate_args)

    @override
    def expand(self, batch_shape: Sequence[int], _instance: "Binomial | None" = None) -> "Binomial":
        return Binomial(
            self.trials, self.logits.expand(tuple(batch_shape)), validate_args=self._validate_args
        )

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """The integers from 0 to n."""
        return constraints.integer_interval(0, self.trials)
