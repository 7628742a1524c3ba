"""Residuals of a fitted likelihood, from which another one starts."""

from typing import NamedTuple

import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.programs import evaluating
from ppvae.programs.pair import traces
from ppvae.programs.streams import forked


class Errors(NamedTuple):
    """Residuals of the fitted likelihood on some data, by element.

    Attributes:
        x: the data, ``(data, *shape)``.
        mean: E[x | z] at a draw of z ~ q(z | x) per datum.
        seen: True where x was observed.
    """

    x: Tensor
    mean: Tensor
    seen: Tensor

    @classmethod
    def of(cls, fitted: Fitted, batch: Batch) -> "Errors":
        """The residuals of a batch."""
        pair, x = fitted.pair, batch["x"]
        with evaluating(pair), forked(pair.device):
            _, model = traces(pair, batch)
        mean = model.nodes[fitted.facts.data_site]["fn"].mean
        seen = batch.get("mask", torch.ones_like(x, dtype=torch.bool))
        return cls(x.to(mean), mean.reshape(x.shape), seen)

    def average(self, values: Tensor) -> Tensor:
        """The mean of values over observed data, for each element: ``shape``."""
        mean: Tensor = values.where(self.seen, 0).sum(0) / self.seen.sum(0).clamp(min=1)
        return mean


def log_r_of(errors: Errors) -> Tensor:
    """Log r of the overdispersion m^2 / r of each element relative to a Poisson."""
    m = errors.mean
    beyond = errors.average((errors.x - m).square() - m).clamp(min=1e-6)
    log_r = (errors.average(m.square()).clamp(min=1e-6) / beyond).log().clamp(-5, 5)
    return 10 * (log_r / 10).atanh()
