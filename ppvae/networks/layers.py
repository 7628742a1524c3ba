"""Base classes of networks: any leading dimensions, nonlinearities by name, sizes that match."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.networks.initial_weights import initialize
from ppvae.networks.network import Shape

Size = tuple[int, int]
"""Height and width of an image."""

Level = Callable[[int], list[nn.Module]]

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


class Feedforward(nn.Module):
    """Layers one after the other, with any dimensions before those of a datum.

    Args:
        in_shape: shape of one input.
        read_as: shape in which the first layer reads it: ``in_shape``, or flattened.
        out_shape: shape of one output.
        layers: from ``(batch, *read_as)`` to as many numbers per datum as ``out_shape`` has.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.
    """

    def __init__(
        self, in_shape: Shape, read_as: Shape, out_shape: Shape, layers: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        initialize(layers)
        self.in_dims, self.read_as, self.out_shape = len(in_shape), read_as, tuple(out_shape)

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[: x.dim() - self.in_dims]
        out: Tensor = self.layers(x.reshape(prod(lead), *self.read_as))
        return out.reshape(*lead, *self.out_shape)


class ImageEncoder(Feedforward):
    """Strided convolutions, each followed by ``level(channels)``, then an affine map.

    ``mirror`` is the name of the matching decoder.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, channels: Sequence[int], level: Level, mirror: str
    ) -> None:
        check_widths("channels", channels)
        c, height, width = _image(in_shape, type(self).__name__, "reads", mirror)
        widths = [c, *channels]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), *level(b)]
        smallest = _halvings(height, width, len(channels))[-1]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * prod(smallest), prod(out_shape))]
        super().__init__(in_shape, in_shape, out_shape, layers)


class ImageDecoder(Feedforward):
    """An affine map to a small image, then levels that double height and width.

    ``mirror`` is the name of the matching encoder; ``level`` gets the channels before and after,
    and the sizes before and after, so that the last matches the target size exactly.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int],
        level: Callable[[int, int, Size, Size], list[nn.Module]],
        mirror: str,
    ) -> None:
        check_widths("channels", channels)
        *_, height, width = _image(out_shape[-3:], type(self).__name__, "gives", mirror)
        sizes = _halvings(height, width, len(channels))[::-1]
        widths, inputs = [*channels, prod(out_shape[:-2])], prod(in_shape)
        layers: list[nn.Module] = [
            nn.Linear(inputs, widths[0] * prod(sizes[0])),
            nn.Unflatten(-1, (widths[0], *sizes[0])),
        ]
        for (a, b), (small, large) in zip(pairwise(widths), pairwise(sizes), strict=True):
            layers += level(a, b, small, large)
        super().__init__(in_shape, (inputs,), out_shape, layers)


def _image(shape: Shape, network: str, verb: Literal["reads", "gives"], other: str) -> Shape:
    """The ``(channels, height, width)`` of the images that ``network`` reads or gives.

    ``other`` is the name of the network in the other direction.

    Raises:
        InputError: if the shape is not that of an image.
    """
    if len(shape) == 3:
        return tuple(shape)
    if verb == "reads":
        ways = (
            "`encoder='MLP'` for data that are not images or have labels appended, and "
            f"`decoder={other!r}` to give images"
        )
    else:
        ways = f"`decoder='MLP'` for other data than images, and `encoder={other!r}` to read images"
    raise InputError(
        f"{network} {verb} images of shape (channels, height, width), and here the shape is "
        f"{tuple(shape)}; take {ways}"
    )


def _halvings(height: int, width: int, times: int) -> list[Size]:
    """Sizes of an image that is halved repeatedly, rounding up, so that any size works."""
    sizes = [(height, width)]
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Refuse layers without units."""
    if any(width < 1 for width in widths):
        raise InputError(f"{name} is {list(widths)}; each layer needs a width of at least 1")
