"""What is known of a datum beside x, set beside it as numbers that a network can read."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ppvae.errors import InputError
from ppvae.networks.network import Shape

__all__ = ["beside", "features", "joined_shape"]


def features(y: Tensor | None, size: int) -> Tensor:
    """Labels or covariates as ``size`` numbers a datum: ``(..., size)``.

    Args:
        y: labels, whole numbers below ``size``, ``(...)``; they become one-hot vectors; or
            covariates, real numbers ``(..., size)``, which stay as they are.
        size: number of classes, or of covariates.

    Raises:
        InputError: if there is none, or it is not of that size.
    """
    if y is None:
        raise InputError(
            "the program is conditional on y, and the data has none; give labels (y of an .npz, "
            "--label of a .csv, sub-folders of images)"
        )
    if not y.is_floating_point():
        return F.one_hot(y.long(), size).to(torch.get_default_dtype())
    if y.shape[-1:] != (size,):
        raise InputError(
            f"y has shape {tuple(y.shape)}, and the program is conditional on {size} covariates; "
            "give them in the last dimension"
        )
    return y


def beside(values: Tensor, dims: int, more: Tensor) -> Tensor:
    """Data or latents flattened, with features appended.

    Args:
        values: ``(..., *shape)``.
        dims: number of dimensions of ``shape``.
        more: ``(..., size)``; what stands before is broadcast.

    Shapes: ``(..., prod(shape) + size)``.
    """
    flat = values.flatten(-dims)
    lead = torch.broadcast_shapes(flat.shape[:-1], more.shape[:-1])
    parts = [flat.expand(*lead, flat.shape[-1]), more.to(flat).expand(*lead, more.shape[-1])]
    return torch.cat(parts, -1)


def joined_shape(shape: Shape, size: int) -> Shape:
    """Shape of what `beside` gives for one datum; that of the datum itself without features."""
    return tuple(shape) if size == 0 else (torch.Size(shape).numel() + size,)
