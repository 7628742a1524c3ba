"""x at its site: held to what was observed of it, and free where nothing was."""

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

    As the elements of x are independent given z, an entry that was not observed is left out of
    log p(x | z), and nothing else has to be done: p(x_observed | z) is the product over the others.
    Mean and draws are those of all entries.

    A size factor multiplies the mean of counts here, and not in the network: what the decoder says
    is then the mean per unit of size factor, as in scVI (Lopez et al., 2018).

    Args:
        x: the data, ``(batch, *data_shape)``; what stands at a missing entry is not looked at, and
            may be no number.
        fn: p(x | z), with event shape ``data_shape``.
        mask: True where x was observed, ``(batch, *data_shape)``; ``None``: everywhere.
        size_factor: what the mean is multiplied by, ``(batch,)``, above 0; see `scaled`.

    Raises:
        InputError: if entries are missing and their distribution does not factorize over elements;
            if there are size factors and no mean of counts that they multiply.
    """
    if size_factor is not None:
        fn = scaled(fn, size_factor)
    if mask is not None:
        if not isinstance(fn, torch.distributions.Independent):
            raise InputError(
                f"the data has missing entries, and p(x | z) is {type(fn).__name__}, from which "
                "elements cannot be left out; give a distribution of independent elements, as "
                "of .to_event()"
            )
        # By its own method: a distribution may want to know what is missing.
        elements = cast("dist.TorchDistribution", fn.base_dist).mask(mask)
        seen = cast("Any", _Seen)(elements.base_dist, mask)
        fn = seen.to_event(fn.reinterpreted_batch_ndims)
    value: Tensor = pyro.sample("x", fn, obs=x)
    return value


class _Seen(dist.MaskedDistribution):
    """A masked distribution whose density is not even computed at what stands at missing entries.

    Outside the support it would be refused there, or infinite, and 0 times its gradient no number.
    """

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        return cast("Tensor", cast("Any", super()).log_prob(self._inside(value)))

    @override
    def score_parts(self, value: Tensor) -> Any:
        return cast("Any", super()).score_parts(self._inside(value))

    def _inside(self, value: Tensor) -> Tensor:
        """The value, and at missing entries some other, which has a density."""
        mask: Any = self._mask
        return torch.where(mask, value, _point(self.base_dist, value).detach())


def _point(fn: dist.TorchDistribution, like: Tensor) -> Tensor:
    """A value in the support of elements, and away from its ends if it is continuous."""
    zero = like.new_zeros(())
    try:
        support: Any = fn.support
        if isinstance(support, Columnwise):
            return zero  # a value of all families of columns
        if support.is_discrete:
            return zero + getattr(support, "lower_bound", 0)
        point: Tensor = transform_to(support)(zero)
    except NotImplementedError:  # a support of the user's own, or a mixture's
        drawn: Tensor = fn.sample()
        return drawn
    return point
