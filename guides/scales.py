"""Scales of posteriors: exp up to 1, about linear above, so that outliers cannot inflate the KL."""

import torch
from torch import Tensor

from ppvae.networks import positive


def posterior_scale(log_scale: Tensor) -> Tensor:
    """A standard deviation: exp(s) of s = ``log_scale`` up to 0, and s + sqrt(1 + s^2) above.

    The two meet with two equal derivatives, and agree within 1 % up to s = 0.4. Codes are of order
    one, where both are alike; beyond, the second grows as 2 s. With exp, one held-out image for
    which an encoder extrapolates to a scale of hundreds costs as many nats as ten thousand others
    together, especially under a prior of narrow normals, where a tail costs the square. (Tomczak
    and Welling, 2018, keep log scales below 1; here scales can match a wide prior.) It is finite
    and positive for any input, see `ppvae.networks.positive`.
    """
    return positive(torch.where(log_scale > 0, log_scale.asinh(), log_scale))
