"""Normals with one scale that is read off what they are shown."""

from collections.abc import Callable, Sequence
from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor


class OptimalNormal(dist.Normal):
    """N(x; loc, c I), with c the mean square of x - loc over all the elements that are scored.

    Of all c it is the one at which they are likeliest (Rybkin et al., 2021), so that the elements
    are no longer independent: it is for training. There the slope of log p in c is zero, and the
    gradient in loc is the same whether c is held or follows loc (the envelope theorem); it is held.
    That is so of a sum in which all draws count alike, and of no other.

    Evaluation has nobody to hear of a mean square: it is then N(loc, scale^2 I).

    Args:
        loc: the means.
        scale: what is drawn with, where there is nothing to score.
        floor: the smallest c.
        hears: is given each mean square that gradients are recorded of, for a running mean: scoring
            the same draws once more, to look at them, teaches nothing. ``None`` in evaluation.
        observed: True where an element is known to be observed; others do not count in c. A mask
            that is laid on by ``.mask`` is one; one laid on by a handler is not known.

    Shapes: elementwise; ``loc``, ``scale`` and ``observed`` broadcast.
    """

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        floor: float,
        hears: Callable[[Tensor], None] | None,
        observed: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(loc, scale, validate_args=validate_args)
        self.floor, self.hears, self.observed = floor, hears, observed

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "OptimalNormal | None" = None
    ) -> "OptimalNormal":
        shape = torch.Size(batch_shape)
        loc, scale = self.loc.expand(shape), self.scale.expand(shape)
        return OptimalNormal(
            loc, scale, self.floor, self.hears, self.observed, validate_args=self._validate_args
        )

    @override
    def mask(self, mask: Tensor | bool) -> dist.MaskedDistribution:
        observed = torch.as_tensor(mask, device=self.loc.device).bool()
        if self.observed is not None:
            observed = observed & self.observed
        fn = OptimalNormal(
            self.loc, self.scale, self.floor, self.hears, observed,
            validate_args=self._validate_args,
        )  # fmt: skip
        return dist.MaskedDistribution(fn, mask)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        scale = self.scale
        if self.hears is not None:
            mean_square = self._mean_square(value)
            if torch.is_grad_enabled():
                self.hears(mean_square)
            scale = mean_square.clamp(min=self.floor).sqrt()
        # What there is to check has been checked above.
        log_prob: Tensor = dist.Normal(self.loc, scale, validate_args=False).log_prob(value)
        return log_prob

    def _mean_square(self, value: Tensor) -> Tensor:
        square = (value - self.loc).detach().square()
        if self.observed is None:
            return square.mean()
        observed = self.observed.expand(square.shape)
        count = observed.sum()
        mean = square.where(observed, 0).sum() / count.clamp(min=1)
        # Of nothing nothing is learned.
        return torch.where(count > 0, mean, self.scale.square().mean())
