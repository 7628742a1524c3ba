"""How wide a posterior may be: what an encoder says of a stray datum is half believed."""

import torch
from torch import Tensor

from ppvae.networks import positive


def posterior_scale(log_scale: Tensor) -> Tensor:
    """A standard deviation: exp(s) of s = ``log_scale`` up to 0, and s + sqrt(1 + s^2) above.

    The two meet with two derivatives, and agree within 1 % up to s = 0.4. Codes are of order one,
    where both are alike; beyond, the second grows as 2 s. By exp, one held-out image at which an
    encoder extrapolates to a scale of hundreds costs as many nats as ten thousand others do
    together, most of all under a prior of narrow normals, where a tail costs the square. (The
    VampPrior's authors hold log scales below 1, see Tomczak and Welling, 2018; here a wide prior
    can be met.) It is finite and above 0 whatever the network says, see `ppvae.networks.positive`.
    """
    return positive(torch.where(log_scale > 0, log_scale.asinh(), log_scale))
