"""A network's number as a scale: positive and finite whatever the network says."""

import torch
from torch import Tensor

__all__ = ["positive"]


def positive(log_scale: Tensor, most: float = 10.0) -> Tensor:
    """The exponential of ``log_scale``, bent smoothly into (-10, ``most``).

    It is exp where networks live (within 1 % from -1.7 to 1.7, or 0.5 for a ``most`` of 2), and no
    input, however strange, makes it 0 or infinite and a bound NaN.
    """
    below = 10 * (log_scale / 10).tanh()
    return torch.where(log_scale > 0, most * (log_scale / most).tanh(), below).exp()
