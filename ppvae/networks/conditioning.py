"""What is known of a datum beside x, set beside it as numbers that a network can read."""

import torch
from torch import Tensor, nn

from ppvae.errors import GIVE_LABELS, InputError
from ppvae.networks.network import Shape
from ppvae.networks.tracing import is_traced


def features(y: Tensor | None, size: int) -> Tensor:
    """Labels or covariates as ``size`` numbers a datum: ``(..., size)``.

    Args:
        y: labels, whole numbers below ``size``, ``(...)``; they become one-hot vectors, and that
            of a label that is not known, -1, is all zeros; or covariates, real numbers
            ``(..., size)``, which stay as they are; a single one may do without a dimension of its
            own, ``(batch,)``.
        size: number of classes, or of covariates.

    Raises:
        InputError: if there is none, it is not of that size, or a label is of no class. Labels on
            a GPU are not looked at, nor are those of a program that is traced: there a label of no
            class is all zeros.
    """
    if y is None:
        raise InputError(f"the program is conditional on y, and the data has none; {GIVE_LABELS}")
    if not y.is_floating_point():
        return _one_hot(y.long(), size)
    if y.dim() == 1 and size == 1:
        return y.unsqueeze(-1)
    if y.shape[-1:] != (size,):
        raise InputError(
            f"y has shape {tuple(y.shape)}, and the program is conditional on {size} covariates; "
            "give them in the last dimension"
        )
    return y


def _one_hot(y: Tensor, size: int) -> Tensor:
    """By comparison, which a graph can hold: torch's own first looks at the labels."""
    if y.device.type == "cpu" and not is_traced():  # nobody waits for a GPU
        wrong = y[(y < -1) | (y >= size)]
        if len(wrong):
            raise InputError(
                f"y holds the label {int(wrong[0])}, and the program knows {size} classes; labels "
                f"are whole numbers from 0 to {size - 1}, and -1 where they are not known"
            )
    classes = torch.arange(size, device=y.device)
    return (y.unsqueeze(-1) == classes).to(torch.get_default_dtype())


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


def per_unit(x: Tensor, size_factor: Tensor | None) -> Tensor:
    """Counts per unit of size factor, as encoders read them: x without what scales its mean alone.

    Args:
        x: ``(batch, *data_shape)``.
        size_factor: ``(batch,)``, above 0; ``None``: 1.
    """
    if size_factor is None:
        return x
    return x / size_factor.reshape(-1, *(1,) * (x.dim() - 1))


def silence(network: nn.Module, size: int) -> None:
    """Have the features that `beside` appends count for nothing at first, where a layer reads them.

    Args:
        network: its first linear layer has weights of 0 for them from here on.
        size: how many there are.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight.detach()[:, -size:])
            return


def joined_shape(shape: Shape, size: int) -> Shape:
    """Shape of what `beside` gives for one datum; that of the datum itself without features."""
    return tuple(shape) if size == 0 else (torch.Size(shape).numel() + size,)
