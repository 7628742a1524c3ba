"""Effective number of latents, by their shares of the KL.

By the variance of the posterior mean, a latent that carries a thousandth of a nat may count as
active. Shares of the KL weigh each latent by its information. Shares alone do not detect a
collapse: 200 dimensions of a thousandth of a nat each have equal shares.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST = 0.01
"""KL of a dimension, in nats per datum, below which it is unused."""


def effective_latents(kl: Mapping[str, Tensor]) -> float:
    """Effective number of latent dimensions: exp of the entropy of the KL's shares.

    With s_d = KL_d / sum_e KL_e it is exp(-sum_d s_d log s_d) (Hill, 1973). For D dimensions of
    equal KL it is D; if one dimension has all the KL, it is 1. Dimensions of less than 0.01 nats
    are unused and have no share; if all are, it is 0.

    Args:
        kl: by latent site, the mean KL of each dimension, ``(dimensions,)``, in nats. Estimates
            below 0 count as 0.

    Example::

        effective_latents({"z": torch.tensor([2.0, 2.0, 0.0])})  # 2
    """
    values = torch.cat([each.double().flatten() for each in kl.values()])
    used = values[values >= LEAST]
    return float(torch.special.entr(used / used.sum()).sum().exp()) if len(used) else 0.0
