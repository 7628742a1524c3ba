"""Networks as encoders and decoders, built for two shapes.

A network is defined by its input and output shapes, so that one class serves both directions: as a
decoder it maps ``(latent_dim,)`` to the parameters per pixel of the likelihood, as an encoder it
maps the data's shape to the parameters of the guide.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.networks.evaluation_mode import evaluation_mode

Shape = tuple[int, ...]
Network = Callable[[Shape, Shape], nn.Module]
"""Makes a network from its input and output shapes: a class of this package,
``functools.partial(MLP, hidden=(200, 200))``, or your own function."""


def build(network: Network | nn.Module, in_shape: Shape, out_shape: Shape, role: str) -> nn.Module:
    """Make ``network`` for these shapes, and check its output.

    Args:
        network: makes the network, or is one already.
        in_shape: shape of one input, without the batch.
        out_shape: shape of one output, without the batch.
        role: ``"decoder"`` or ``"encoder"``, for the error.

    Raises:
        InputError: if it does not map a batch of two of ``in_shape`` to two of ``out_shape``.
    """
    module = network if isinstance(network, nn.Module) else network(in_shape, out_shape)
    probe = torch.zeros(2, *in_shape)
    like = next(
        (t for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()), probe
    )
    try:
        # The probe must not change running means, or use random numbers for dropout.
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
            f"{got}; the program needs {(2, *out_shape)}: take in_shape={in_shape} and "
            f"out_shape={out_shape} in its constructor and give outputs of the latter"
        )
    return module
