"""A network's number as a scale: positive and finite whatever the network says."""

from torch import Tensor

__all__ = ["positive"]


def positive(log_scale: Tensor) -> Tensor:
    """The exponential of ``log_scale``, bent smoothly into (-10, 10).

    It is exp where networks live (within 1 % from -1.4 to 1.4), and no input, however strange,
    makes it 0 or infinite and a bound NaN.
    """
    return (10 * (log_scale / 10).tanh()).exp()
