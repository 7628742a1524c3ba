"""How many latents are in use? The effective number of them, by their shares of the KL.

A count by the variance of the posterior mean calls a latent active that carries a thousandth of a
nat. The shares of the KL weigh each latent by what it says.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST = 0.05
"""KL of all latents, in nats per datum, below which none of them is in use."""


def effective_latents(kl: Mapping[str, Tensor]) -> float:
    """Effective number of latent dimensions: exp of the entropy of the KL's shares.

    With s_d = KL_d / sum_e KL_e it is exp(-sum_d s_d log s_d) (Hill, 1973). D dimensions with the
    same KL count D, and one that has all of it counts 1. It is 0 where the latents together say
    less than 0.05 nats: shares of nothing are noise.

    Args:
        kl: by latent site, the mean KL of each dimension, ``(dimensions,)``, in nats. Estimates
            below 0 count as 0.

    Example::

        effective_latents({"z": torch.tensor([2.0, 2.0, 0.0])})  # 2
    """
    values = torch.cat([each.double().flatten() for each in kl.values()]).clamp(min=0)
    total = values.sum()
    if total < LEAST:
        return 0.0
    return float(torch.special.entr(values / total).sum().exp())
