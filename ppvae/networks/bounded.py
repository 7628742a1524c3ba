"""Positive numbers: a network's output as a scale, and whether a given number can be one."""

from torch import Tensor


def positive(log_scale: Tensor) -> Tensor:
    """The exponential of ``log_scale``, bent smoothly into (-10, 10).

    It is exp where networks live (within 1 % from -1.4 to 1.4), and no input, however strange,
    makes it 0 or infinite and a bound NaN.
    """
    return (10 * (log_scale / 10).tanh()).exp()


def inverse_positive(value: Tensor) -> Tensor:
    """The log scale at which `positive` is ``value``, between exp(-9) and exp(9)."""
    return 10 * (value.log().clamp(-9, 9) / 10).atanh()


def is_positive(value: float) -> bool:
    """Whether a number is above zero in single precision, and finite, as its inverse is too."""
    return 1e-37 <= value <= 1e37
