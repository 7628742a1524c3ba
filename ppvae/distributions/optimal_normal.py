"""Normals with one scale, computed from the scored values."""

from collections.abc import Callable, Sequence
from typing import override

import pyro.distributions as dist
import torch
from torch import Tensor


class OptimalNormal(dist.Normal):
    """N(x; loc, c I), with c the mean square of x - loc over all scored elements.

    This c has the highest likelihood of all (Rybkin et al., 2021), so that the elements are no
    longer independent: it is for training. There the slope of log p in c is zero, and the gradient
    in loc is the same whether c is held fixed or follows loc (the envelope theorem); it is held.
    That is true only of a sum in which all draws count alike.

    In evaluation ``record`` is ``None``, and the distribution is N(loc, scale^2 I).

    Args:
        loc: the means.
        scale: the scale of draws, and of scores in evaluation.
        floor: the smallest c.
        record: called with each mean square computed while gradients are recorded, for a
            running mean; scoring the same draws again without gradients does not count. ``None`` in
            evaluation.
        observed: True where an element is known to be observed; others do not count in c. A mask
            set by ``.mask`` is known; one set by a handler is not.

    Shapes: elementwise; ``loc``, ``scale`` and ``observed`` broadcast.
    """

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        floor: float,
        record: Callable[[Tensor], None] | None,
        observed: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(loc, scale, validate_args=validate_args)
        self.floor, self.record, self.observed = floor, record, observed

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: "OptimalNormal | None" = None
    ) -> "OptimalNormal":
        shape = torch.Size(batch_shape)
        loc, scale = self.loc.expand(shape), self.scale.expand(shape)
        return OptimalNormal(
            loc, scale, self.floor, self.record, self.observed, validate_args=self._validate_args
        )

    @override
    def mask(self, mask: Tensor | bool) -> dist.MaskedDistribution:
        observed = torch.as_tensor(mask, device=self.loc.device).bool()
        if self.observed is not None:
            observed = observed & self.observed
        fn = OptimalNormal(
            self.loc, self.scale, self.floor, self.record, observed,
            validate_args=self._validate_args,
        )  # fmt: skip
        return dist.MaskedDistribution(fn, mask)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        scale = self.scale
        if self.record is not None:
            mean_square = self._mean_square(value)
            if torch.is_grad_enabled():
                self.record(mean_square)
            scale = mean_square.clamp(min=self.floor).sqrt()
        # All checks were made above.
        log_prob: Tensor = dist.Normal(self.loc, scale, validate_args=False).log_prob(value)
        return log_prob

    def _mean_square(self, value: Tensor) -> Tensor:
        square = (value - self.loc).detach().square()
        if self.observed is None:
            return square.mean()
        observed = self.observed.expand(square.shape)
        count = observed.sum()
        mean = square.where(observed, 0).sum() / count.clamp(min=1)
        # Without observed elements nothing is learned.
        return torch.where(count > 0, mean, self.scale.square().mean())
