"""What a program may call a decoder or an encoder, and that it fits.

A network is named by the two shapes that it joins, so that one class serves both directions: as a
decoder it maps ``(latent_dim,)`` to as many numbers per pixel as the likelihood asks for, as an
encoder it maps the data's shape to the numbers that the guide asks for.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.networks.evaluation_mode import evaluation_mode

Shape = tuple[int, ...]
Network = Callable[[Shape, Shape], nn.Module]
"""Makes a network from the shape that goes in and the shape that comes out: a class of this
package, ``functools.partial(MLP, hidden=(200, 200))``, or a function of one's own."""


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
    try:
        # The probe must not move running means, nor draw dropout from the seed.
        with evaluation_mode(module), torch.no_grad():
            out = module(probe.to(like))
    except RuntimeError as error:
        raise InputError(
            f"the {role} {type(module).__name__} fails on a batch of shape {tuple(probe.shape)}: "
            f"{str(error).splitlines()[0]}; it must map {in_shape} to {out_shape}, batch first"
        ) from error
    got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    if got != (2, *out_shape):
        raise InputError(
            f"the {role} {type(module).__name__} maps a batch of shape {tuple(probe.shape)} to "
            f"{got}; the program needs {(2, *out_shape)}: let it take in_shape={in_shape} and "
            f"out_shape={out_shape} in its constructor and give the latter"
        )
    return module
