"""x at its site: held to what was observed of it, and free where nothing was."""

from typing import cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.errors import InputError


def observe(x: Tensor, fn: dist.TorchDistribution, mask: Tensor | None = None) -> Tensor:
    """The statement x ~ p(x | z) at the site ``"x"``; missing entries are integrated out.

    As the elements of x are independent given z, an entry that was not observed is left out of
    log p(x | z), and nothing else has to be done: p(x_observed | z) is the product over the others.

    Args:
        x: the data, ``(batch, *data_shape)``; what stands at a missing entry is not looked at.
        fn: p(x | z), with event shape ``data_shape``.
        mask: True where x was observed, ``(batch, *data_shape)``; ``None``: everywhere.

    Raises:
        InputError: if entries are missing and their distribution does not factorize over elements.
    """
    if mask is not None:
        if not isinstance(fn, torch.distributions.Independent):
            raise InputError(
                f"the data has missing entries, and p(x | z) is {type(fn).__name__}, from which "
                "elements cannot be left out; give a distribution of independent elements, as "
                "of .to_event()"
            )
        elements = cast("dist.TorchDistribution", fn.base_dist)
        fn = elements.mask(mask).to_event(fn.reinterpreted_batch_ndims)
    drawn: Tensor = pyro.sample("x", fn, obs=x)
    return drawn
