"""Strided convolutions, for images of any size: an encoder, and a decoder that mirrors it."""

from collections.abc import Sequence

from torch import nn

from ppvae.networks.layers import ACTIVATIONS, Activation, ImageDecoder, ImageEncoder, Size
from ppvae.networks.network import Shape


class ConvEncoder(ImageEncoder):
    """Strided convolutions, then an affine map: any height, width and number of channels.

    Each layer halves height and width, rounding up, so that any size works.

    Args:
        in_shape: ``(C, H, W)`` of one image.
        out_shape: shape of one output.
        channels: channels after each layer.
        activation: the nonlinearity after each convolution, by name.

    Shapes: ``(..., C, H, W)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the input is not an image, or a number of channels is below 1.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
    ) -> None:
        super().__init__(
            in_shape, out_shape, channels, lambda _: [ACTIVATIONS[activation]()], "ConvDecoder"
        )


class ConvDecoder(ImageDecoder):
    """The mirror of `ConvEncoder`: an affine map to a small image, then transposed convolutions.

    Each layer doubles height and width, minus one where the target is odd, so that the last matches
    the target size exactly.

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: ``(..., H, W)``; dimensions before H and W are channels of the last layer.
        channels: channels before each layer, from the smallest image to the largest.
        activation: the nonlinearity before each convolution, by name.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the output is not an image, or a number of channels is below 1.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (64, 32),
        activation: Activation = "relu",
    ) -> None:
        def level(a: int, b: int, small: Size, large: Size) -> list[nn.Module]:
            # A stride of two with a kernel of three gives 2n - 1 rows, and one more on request.
            odd = (large[0] - 2 * small[0] + 1, large[1] - 2 * small[1] + 1)
            doubled = nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=odd)
            return [ACTIVATIONS[activation](), doubled]

        super().__init__(in_shape, out_shape, channels, level, "ConvEncoder")
