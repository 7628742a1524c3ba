"""Tensors to tensors, with no probability in them: what a program calls a decoder or an encoder.

A network is named by the two shapes that it joins, so that one class serves both directions: as a
decoder it maps ``(latent_dim,)`` to as many numbers per pixel as the likelihood asks for, as an
encoder it maps the data's shape to the numbers that the guide asks for. All of them keep whatever
dimensions come before, so that a batch, or particles times a batch, passes in one call.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from ppvae.errors import InputError

__all__ = ["MLP", "Activation", "ConvDecoder", "ConvEncoder", "Network", "Shape", "build"]

Shape = tuple[int, ...]
Network = Callable[[Shape, Shape], nn.Module]
"""Makes a network from the shape that goes in and the shape that comes out: a class of this file,
``functools.partial(MLP, hidden=(200, 200))``, or a function of one's own."""

Activation = Literal["relu", "tanh", "softplus", "gelu", "silu", "elu", "leaky_relu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


def build(network: Network | nn.Module, in_shape: Shape, out_shape: Shape, role: str) -> nn.Module:
    """Make ``network`` for these shapes, and hold it to them.

    Args:
        network: what makes the network, or one that is made already.
        in_shape: shape of one input, without the batch.
        out_shape: shape of one output, without the batch.
        role: ``"decoder"`` or ``"encoder"``, for the sentence if it does not fit.

    Raises:
        InputError: if a batch of two of ``in_shape`` does not come out as two of ``out_shape``.
    """
    module = network if isinstance(network, nn.Module) else network(in_shape, out_shape)
    probe = torch.zeros(2, *in_shape)
    like = next(
        (t for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()), probe
    )
    training = module.training
    module.eval()  # the probe must not move running means, nor draw dropout from the seed
    try:
        with torch.no_grad():
            out = module(probe.to(like))
    except RuntimeError as error:
        raise InputError(
            f"the {role} {type(module).__name__} fails on a batch of shape {tuple(probe.shape)}: "
            f"{str(error).splitlines()[0]}; it must map {in_shape} to {out_shape}, batch first"
        ) from error
    finally:
        module.train(training)
    got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if got != (2, *out_shape):
        raise InputError(
            f"the {role} {type(module).__name__} maps a batch of shape {tuple(probe.shape)} to "
            f"{got}; the program needs {(2, *out_shape)}: let it take in_shape={in_shape} and "
            f"out_shape={out_shape} in its constructor and give the latter"
        )
    return module


class MLP(nn.Module):
    """A multilayer perceptron, h_{l+1} = f(W_l h_l + b_l), linear at the end.

    Args:
        in_shape: shape of one input, flattened on entry.
        out_shape: shape of one output.
        hidden: width of each hidden layer; none makes the map affine.
        activation: f, by name.

    Shapes: ``(..., *in_shape)`` to ``(..., *out_shape)``.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden: Sequence[int] = (400,),
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        _check_widths("hidden", hidden)
        widths = [prod(in_shape), *hidden, prod(out_shape)]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Linear(a, b)] if i == 0 else [_ACTIVATIONS[activation](), nn.Linear(a, b)]
        self.layers = nn.Sequential(*layers)
        self.in_dims, self.out_shape = len(in_shape), tuple(out_shape)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(-self.in_dims)
        out: Tensor = self.layers(flat)
        return out.reshape(*flat.shape[:-1], *self.out_shape)


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
        _check_widths("channels", channels)
        c, h, w = _image(in_shape, "ConvEncoder reads")
        layers: list[nn.Module] = []
        for width in channels:
            layers += [nn.Conv2d(c, width, 3, stride=2, padding=1), _ACTIVATIONS[activation]()]
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
        _check_widths("channels", channels)
        *_, height, width = _image(out_shape[-3:], "ConvDecoder gives")
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
                _ACTIVATIONS[activation](),
                nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=odd),
            ]
        self.layers = nn.Sequential(*layers)
        self.in_dims, self.out_shape = len(in_shape), tuple(out_shape)

    def forward(self, z: Tensor) -> Tensor:
        flat = z.flatten(-self.in_dims)
        out: Tensor = self.layers(flat.reshape(-1, flat.shape[-1]))
        return out.reshape(*flat.shape[:-1], *self.out_shape)


def _image(shape: Shape, sentence: str) -> Shape:
    if len(shape) != 3:
        raise InputError(
            f"{sentence} images of shape (channels, height, width), and here the shape is "
            f"{tuple(shape)}; take --encoder MLP and --decoder MLP for data that are no images"
        )
    return shape


def _check_widths(name: str, widths: Sequence[int]) -> None:
    if any(width < 1 for width in widths):
        raise InputError(f"{name} is {list(widths)}; each layer needs a width of at least 1")
