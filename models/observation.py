"""Observation of x: the likelihood at observed entries, with missing ones left out."""

from typing import Any, cast, override

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import transform_to

from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.scaled_mean import scaled
from ppvae.errors import InputError


def observe(
    x: Tensor,
    fn: dist.TorchDistribution,
    mask: Tensor | None = None,
    size_factor: Tensor | None = None,
) -> Tensor:
    """The statement x ~ p(x | z) at the site ``"x"``; missing entries are integrated out.

    As the elements of x are independent given z, it is enough to leave missing entries out of
    log p(x | z): p(x_observed | z) is the product over the others. Mean and draws are those of all
    entries.

    A size factor multiplies the mean of counts here, outside of the network, whose output is then
    the mean per unit of size factor, as in scVI (Lopez et al., 2018).

    Args:
        x: the data, ``(batch, *data_shape)``; values of missing entries are ignored, and may be
            NaN.
        fn: p(x | z), with event shape ``data_shape``.
        mask: True where x was observed, ``(batch, *data_shape)``; ``None``: everywhere.
        size_factor: the factor of the mean, ``(batch,)``, above 0; see `scaled`.

    Raises:
        InputError: if entries are missing and their distribution does not factorize over elements;
            if there are size factors and no mean of counts to multiply.
    """
    if size_factor is not None:
        fn = scaled(fn, size_factor)
    if mask is not None:
        if not isinstance(fn, torch.distributions.Independent):
            raise InputError(
                f"the data have missing entries, and p(x | z) is {type(fn).__name__}, which cannot "
                "leave elements out; give a distribution of independent elements, as by "
                ".to_event()"
            )
        # By its own method, as a distribution may need to know which entries are missing.
        elements = cast("dist.TorchDistribution", fn.base_dist).mask(mask)
        seen = cast("Any", _Seen)(elements.base_dist, mask)
        fn = seen.to_event(fn.reinterpreted_batch_ndims)
    value: Tensor = pyro.sample("x", fn, obs=x)
    return value


class _Seen(dist.MaskedDistribution):
    """A masked distribution that does not compute its density at missing entries.

    Outside the support that would raise, or be infinite, with 0 times a NaN gradient.
    """

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        return cast("Tensor", cast("Any", super()).log_prob(self._inside(value)))

    @override
    def score_parts(self, value: Tensor) -> Any:
        return cast("Any", super()).score_parts(self._inside(value))

    def _inside(self, value: Tensor) -> Tensor:
        """The value, replaced at missing entries by one in the support."""
        mask: Any = self._mask
        return torch.where(mask, value, _point(self.base_dist, value).detach())


def _point(fn: dist.TorchDistribution, like: Tensor) -> Tensor:
    """A value in the support of elements, and inside its bounds if it is continuous."""
    zero = like.new_zeros(())
    try:
        support: Any = fn.support
        if isinstance(support, Columnwise):
            return zero  # in the support of all families of columns
        if support.is_discrete:
            return zero + getattr(support, "lower_bound", 0)
        point: Tensor = transform_to(support)(zero)
    except NotImplementedError:  # a support without a transform, such as a mixture's
        drawn: Tensor = fn.sample()
        return drawn
    return point
