"""What networks have in common: nonlinearities by name, widths and shapes that make sense."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from ppvae.errors import InputError
from ppvae.networks.network import Shape

__all__ = ["ACTIVATIONS", "Activation", "check_widths", "image"]

Activation = Literal["relu", "tanh", "softplus", "gelu", "silu", "elu", "leaky_relu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


def image(shape: Shape, sentence: str) -> Shape:
    """``(channels, height, width)``, or a sentence that begins with ``sentence``."""
    if len(shape) != 3:
        raise InputError(
            f"{sentence} images of shape (channels, height, width), and here the shape is "
            f"{tuple(shape)}; take --encoder MLP and --decoder MLP for data that are no images"
        )
    return shape


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Refuse a layer without a unit."""
    if any(width < 1 for width in widths):
        raise InputError(f"{name} is {list(widths)}; each layer needs a width of at least 1")
