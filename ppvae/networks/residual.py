"""Residual convolutional networks, for images of any size: an encoder and a decoder.

Their blocks start as the identity. Normalization is over one datum, by its own mean and variance:
with batch normalization the output of a datum would depend on the rest of the batch, and a bound on
log p(x) is one for each x alone.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.networks.layers import ACTIVATIONS, Activation, ImageDecoder, ImageEncoder, Size
from ppvae.networks.network import Shape


class ResidualEncoder(ImageEncoder):
    """Strided convolutions with residual blocks between them, then an affine map.

    Each level halves height and width, rounding up, so that any size works; then follow its blocks
    (`ResidualBlock`) and the nonlinearity. As the blocks are the identity at first, it starts as a
    `ConvEncoder` of the same channels, and gradients pass at any depth.

    Args:
        in_shape: ``(C, H, W)`` of one image.
        out_shape: shape of one output.
        channels: channels of each level, from the largest image to the smallest.
        blocks: residual blocks per level.
        activation: the nonlinearity, by name.

    Shapes: ``(..., C, H, W)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the input is not an image, a number of channels is below 1, or there is no
            block.

    Example::

        model = VAE(StandardNormal(40), Bernoulli((1, 28, 28)), ResidualDecoder)
        guide = MeanField(40, (1, 28, 28), partial(ResidualEncoder, blocks=2))
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64),
        blocks: int = 1,
        activation: Activation = "silu",
    ) -> None:
        def level(width: int) -> list[nn.Module]:
            return _level(width, blocks, activation)

        super().__init__(in_shape, out_shape, channels, level, "ResidualDecoder")


class ResidualDecoder(ImageDecoder):
    """The mirror of `ResidualEncoder`: an affine map to a small image, then levels that double it.

    Each level has its blocks (`ResidualBlock`) and the nonlinearity; then pixels are repeated, to
    twice the height and width or one less where the target is odd, and convolved. So the target
    size is matched exactly, and every pixel is a sum of equally many terms; a strided transposed
    convolution would make a checkerboard (Odena et al., 2016).

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: ``(..., H, W)``; dimensions before H and W are channels of the last layer.
        channels: channels of each level, from the smallest image to the largest.
        blocks: residual blocks per level.
        activation: the nonlinearity, by name.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.

    Raises:
        InputError: if the output is not an image, a number of channels is below 1, or there is no
            block.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (64, 32),
        blocks: int = 1,
        activation: Activation = "silu",
    ) -> None:
        def level(a: int, b: int, _: Size, large: Size) -> list[nn.Module]:
            return [
                *_level(a, blocks, activation),
                nn.Upsample(large),
                nn.Conv2d(a, b, 3, padding=1),
            ]

        super().__init__(in_shape, out_shape, channels, level, "ResidualEncoder")


class ResidualBlock(nn.Module):
    """h + F(h), with F two convolutions, each after a norm and a nonlinearity (He et al., 2016).

    The last convolution starts at zero, and with it F (Goyal et al., 2017; Zhang et al., 2019). The
    norm is over groups of channels of one datum (Wu and He, 2018). The identity path is not
    normalized, so that no block can lose its input: at one pixel and one channel, for instance, the
    output of a norm is constant.

    Args:
        width: channels of h.
        activation: the nonlinearity, by name.

    Shapes: ``(batch, width, H, W)`` to the same.
    """

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_normalized_convolution(width, activation), *_normalized_convolution(width, activation)
        )
        for last in self.branch[-1].parameters():
            nn.init.zeros_(last)

    def forward(self, h: Tensor) -> Tensor:
        added: Tensor = self.branch(h)
        return h + added


def _normalized_convolution(width: int, activation: Activation) -> list[nn.Module]:
    return [
        nn.GroupNorm(_groups(width), width),
        ACTIVATIONS[activation](),
        nn.Conv2d(width, width, 3, padding=1),
    ]


def _groups(width: int) -> int:
    """The largest number of equal groups of 8 channels or more; below 16 channels, one."""
    # A norm over few channels and pixels removes most information.
    return max(n for n in range(1, max(width // 8, 1) + 1) if width % n == 0)


def _level(width: int, blocks: int, activation: Activation) -> list[nn.Module]:
    """The residual blocks of one image size, and the nonlinearity after them."""
    if blocks < 1:
        raise InputError(
            f"blocks is {blocks}; a level needs at least 1 (ConvEncoder and ConvDecoder have none)"
        )
    return [*(ResidualBlock(width, activation) for _ in range(blocks)), ACTIVATIONS[activation]()]
