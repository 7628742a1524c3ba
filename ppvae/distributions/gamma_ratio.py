"""Logarithms of gamma functions and of their ratios, without cancellation."""

import torch
from torch import Tensor

FAR = 10.0
"""From here on Stirling's series, truncated as below, is exact to double precision."""


def log_gamma_ratio(a: Tensor, b: Tensor) -> Tensor:
    """The logarithm of Gamma(a + b) / Gamma(a), for a > 0 and b > -a.

    For large a both log-gammas are large and nearly equal: in single precision their difference
    has an error of 0.01 at a = 20,000, the same for all elements of a datum. Stirling's series

        (a - 1/2) log(1 + b / a) + b (log(a + b) - 1) + r(a + b) - r(a),

    with a small r, is as exact as b log a.

    Shapes: elementwise; ``a`` and ``b`` broadcast.
    """
    is_near = torch.minimum(a, a + b) < FAR
    far, step = torch.where(is_near, FAR, a), torch.where(is_near, 0, b)
    top = far + step
    series = (far - 0.5) * torch.log1p(step / far) + step * (top.log() - 1)
    series = series + stirling_rest(top) - stirling_rest(far)
    return torch.where(is_near, torch.lgamma(a + b) - torch.lgamma(a), series)


def stirling_rest(z: Tensor) -> Tensor:
    """The remainder log Gamma(z) - (z - 1/2) log z + z - log(2 pi) / 2, for z of at least `FAR`."""
    w = z.square().reciprocal()
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z


def log_one_plus(t: Tensor, directly: Tensor) -> Tensor:
    """log(1 + t), with ``directly`` used near t = -1, where 1 + t has lost its digits."""
    return torch.where(t > -0.5, t.clamp(min=-0.5).log1p(), directly)
