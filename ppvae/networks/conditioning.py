"""Labels, covariates and size factors of a datum as inputs of networks."""

import torch
from torch import Tensor, nn

from ppvae.errors import GIVE_LABELS, InputError
from ppvae.networks.network import Shape
from ppvae.networks.tracing import is_traced


def features(y: Tensor | None, size: int) -> Tensor:
    """Labels or covariates as ``size`` numbers per datum: ``(..., size)``.

    Args:
        y: labels, whole numbers below ``size``, ``(...)``, which become one-hot vectors, all zeros
            for an unknown label, -1; or covariates, real numbers ``(..., size)``, which are
            unchanged; a single covariate may omit its dimension, ``(batch,)``.
        size: number of classes, or of covariates.

    Raises:
        InputError: if there is no y, it has another size, or a label is no class. Labels on a GPU
            or in a traced program are not checked: there an invalid label is all zeros.
    """
    if y is None:
        raise InputError(f"the program is conditional on y, and the data have none; {GIVE_LABELS}")
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
    """One-hot vectors by comparison, which a graph can hold: torch's function reads the labels."""
    if y.device.type == "cpu" and not is_traced():  # a check would wait for a GPU
        wrong = y[(y < -1) | (y >= size)]
        if len(wrong):
            raise InputError(
                f"y holds the label {int(wrong[0])}, and the program knows {size} classes; labels "
                f"are whole numbers from 0 to {size - 1}, and -1 where unknown"
            )
    classes = torch.arange(size, device=y.device)
    return (y.unsqueeze(-1) == classes).to(torch.get_default_dtype())


def beside(values: Tensor, dims: int, more: Tensor) -> Tensor:
    """Data or latents, flattened, with features appended.

    Args:
        values: ``(..., *shape)``.
        dims: number of dimensions of ``shape``.
        more: ``(..., size)``; leading dimensions are broadcast.

    Shapes: ``(..., prod(shape) + size)``.
    """
    flat = values.flatten(-dims)
    lead = torch.broadcast_shapes(flat.shape[:-1], more.shape[:-1])
    parts = [flat.expand(*lead, flat.shape[-1]), more.to(flat).expand(*lead, more.shape[-1])]
    return torch.cat(parts, -1)


def per_unit(x: Tensor, size_factor: Tensor | None) -> Tensor:
    """Counts divided by size factors, as encoders read them.

    Args:
        x: ``(batch, *data_shape)``.
        size_factor: ``(batch,)``, above 0; ``None``: 1.
    """
    if size_factor is None:
        return x
    return x / size_factor.reshape(-1, *(1,) * (x.dim() - 1))


def silence(network: nn.Module, size: int) -> None:
    """Set to 0 the initial weights of features that `beside` appends.

    Args:
        network: the weights of its first linear layer are changed.
        size: number of the features.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight.detach()[:, -size:])
            return


def joined_shape(shape: Shape, size: int) -> Shape:
    """Shape of a datum after `beside`; unchanged without features."""
    return tuple(shape) if size == 0 else (torch.Size(shape).numel() + size,)
