"""How many latents are in use? The effective number of them, by their shares of the KL.

A count by the variance of the posterior mean calls a latent active that carries a thousandth of a
nat. The shares of the KL weigh each latent by what it says. Shares alone do not see a collapse: of
200 dimensions with a thousandth of a nat each, all have the same share.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST = 0.01
"""KL of a dimension, in nats per datum, below which it is not in use."""


def effective_latents(kl: Mapping[str, Tensor]) -> float:
    """Effective number of latent dimensions: exp of the entropy of the KL's shares.

    With s_d = KL_d / sum_e KL_e it is exp(-sum_d s_d log s_d) (Hill, 1973). D dimensions with the
    same KL count D, and one that has all of it counts 1. Dimensions of less than 0.01 nats are not
    in use and have no share; where all are, it is 0.

    Args:
        kl: by latent site, the mean KL of each dimension, ``(dimensions,)``, in nats. Estimates
            below 0 count as 0.

    Example::

        effective_latents({"z": torch.tensor([2.0, 2.0, 0.0])})  # 2
    """
    values = torch.cat([each.double().flatten() for each in kl.values()])
    used = values[values >= LEAST]
    return float(torch.special.entr(used / used.sum()).sum().exp()) if len(used) else 0.0
