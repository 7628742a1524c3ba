"""Strided convolutions, for images of any size: an encoder, and a decoder that mirrors it."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ppvae.networks.layers import ACTIVATIONS, Activation, check_widths, image
from ppvae.networks.network import Shape

__all__ = ["ConvDecoder", "ConvEncoder"]


class ConvEncoder(nn.Module):
    """Strided convolutions, then an affine map: any height, width and number of channels.

    Each layer halves height and width, rounding up, so that no size is refused.

    Args:
        in_shape: ``(C, H, W)`` of one image.
        out_shape: shape of one output.
        channels: channels after each layer.
        activation: the nonlinearity after each convolution, by name.

    Shapes: ``(..., C, H, W)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the input is no image.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_widths("channels", channels)
        c, h, w = image(in_shape, "ConvEncoder reads")
        layers: list[nn.Module] = []
        for width in channels:
            layers += [nn.Conv2d(c, width, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
            c, h, w = width, (h + 1) // 2, (w + 1) // 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(c * h * w, prod(out_shape)))
        self.out_shape = tuple(out_shape)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.reshape(-1, *x.shape[-3:]))
        return out.reshape(*x.shape[:-3], *self.out_shape)


class ConvDecoder(nn.Module):
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
        InputError: if the output is no image.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (64, 32),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_widths("channels", channels)
        *_, height, width = image(out_shape[-3:], "ConvDecoder gives")
        sizes = [(height, width)]
        for _ in channels:
            height, width = (height + 1) // 2, (width + 1) // 2
            sizes.append((height, width))
        sizes.reverse()
        widths = [*channels, prod(out_shape[:-2])]
        layers: list[nn.Module] = [
            nn.Linear(prod(in_shape), widths[0] * prod(sizes[0])),
            nn.Unflatten(-1, (widths[0], *sizes[0])),
        ]
        for (a, b), small, large in zip(pairwise(widths), sizes, sizes[1:], strict=False):
            # A stride of two with a kernel of three gives 2n - 1 rows, and one more on request.
            odd = (large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1)
            layers += [
                ACTIVATIONS[activation](),
                nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=odd),
            ]
        self.layers = nn.Sequential(*layers)
        self.in_dims, self.out_shape = len(in_shape), tuple(out_shape)

    def forward(self, z: Tensor) -> Tensor:
        flat = z.flatten(-self.in_dims)
        out: Tensor = self.layers(flat.reshape(-1, flat.shape[-1]))
        return out.reshape(*flat.shape[:-1], *self.out_shape)
