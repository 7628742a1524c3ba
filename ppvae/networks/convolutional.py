"""Strided convolutions, for images of any size: an encoder, and a decoder that mirrors it."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from ppvae.networks.layers import (
    ACTIVATIONS,
    Activation,
    Feedforward,
    check_widths,
    halvings,
    image,
)
from ppvae.networks.network import Shape

__all__ = ["ConvDecoder", "ConvEncoder"]


class ConvEncoder(Feedforward):
    """Strided convolutions, then an affine map: any height, width and number of channels.

    Each layer halves height and width, rounding up, so that no size is refused.

    Args:
        in_shape: ``(C, H, W)`` of one image.
        out_shape: shape of one output.
        channels: channels after each layer.
        activation: the nonlinearity after each convolution, by name.

    Shapes: ``(..., C, H, W)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the input is no image, or a number of channels is below 1.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
    ) -> None:
        check_widths("channels", channels)
        c, height, width = image(in_shape, "ConvEncoder", "reads", "ConvDecoder")
        widths = [c, *channels]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
        smallest = halvings(height, width, len(channels))[-1]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * prod(smallest), prod(out_shape))]
        super().__init__(in_shape, in_shape, out_shape, layers)


class ConvDecoder(Feedforward):
    """The mirror of `ConvEncoder`: an affine map to a small image, then transposed convolutions.

    Each layer doubles height and width, less one where the target is odd, so that the last meets
    the asked size exactly.

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: ``(..., H, W)``; what stands before H and W are channels to the last layer.
        channels: channels before each layer, from the smallest image to the largest.
        activation: the nonlinearity before each convolution, by name.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the output is no image, or a number of channels is below 1.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (64, 32),
        activation: Activation = "relu",
    ) -> None:
        check_widths("channels", channels)
        *_, height, width = image(out_shape[-3:], "ConvDecoder", "gives", "ConvEncoder")
        sizes = halvings(height, width, len(channels))[::-1]
        widths = [*channels, prod(out_shape[:-2])]
        inputs = prod(in_shape)
        layers: list[nn.Module] = [
            nn.Linear(inputs, widths[0] * prod(sizes[0])),
            nn.Unflatten(-1, (widths[0], *sizes[0])),
        ]
        for (a, b), (small, large) in zip(pairwise(widths), pairwise(sizes), strict=True):
            # A stride of two with a kernel of three gives 2n - 1 rows, and one more on request.
            odd = (large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1)
            layers += [
                ACTIVATIONS[activation](),
                nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=odd),
            ]
        super().__init__(in_shape, (inputs,), out_shape, layers)
