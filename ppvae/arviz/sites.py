"""At which sites do the programs draw and observe, and where do the axes of their values belong?

It is read off one trace of each program on a few rows.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.arviz.names import data_dims, own_dims, plate_name, variable_name
from ppvae.data import Batch
from ppvae.programs import Pair
from ppvae.programs.facts import Audit
from ppvae.programs.pair import traces
from ppvae.programs.plates import vectorized


@dataclass(frozen=True)
class Site:
    """A sample site, and where the axes of its values belong.

    Attributes:
        name: in the programs.
        dims: names of the dimensions of one draw, data first.
        axes: which axes of one draw, ``(*plates, *event)``, these are; after them the axes left
            over, all of size 1: plates that the site is not in.
        size: how many numbers one draw has, of one datum where ``dims`` has the data.
        dtype: in the tree.
    """

    name: str
    dims: tuple[str, ...]
    axes: tuple[int, ...]
    size: int
    dtype: np.dtype[Any]

    @property
    def variable(self) -> str:
        """The site's name in the tree."""
        return variable_name(self.name)

    def bytes(self, rows: int) -> int:
        """What one draw takes."""
        return self.size * (rows if "data" in self.dims else 1) * self.dtype.itemsize

    def arranged(self, value: Tensor) -> NDArray[Any]:
        """``([draws], *plates, *event)``, whatever plates are missing, as ``(draws, *dims)``."""
        missing = 1 + len(self.axes) - value.dim()
        full = value.reshape((1,) * missing + value.shape)
        moved = full.permute(0, *(1 + axis for axis in self.axes))
        values = moved.reshape(moved.shape[: 1 + len(self.dims)]).cpu().numpy()
        return values.astype(self.dtype)


class Sites(NamedTuple):
    """Latent sites, and those that the data is observed at."""

    latent: tuple[Site, ...]
    observed: tuple[Site, ...]


def find_sites(pair: Pair, audit: Audit, batch: Batch) -> Sites:
    """The sites of the tree, as they show on a few rows."""
    _, model = traces(pair, batch)
    nodes, x = model.nodes, batch["x"]
    plate = data_plate(model, audit, len(x))
    values = {name: nodes[name]["value"].detach().cpu().numpy() for name in audit.latents}
    latent = [_site(nodes[name], audit, plate, value.dtype) for name, value in values.items()]
    observed = [nodes[site.name] for site in audit.sites if site.guide is None]
    # Where x is observed whole, labels observed beside it are what the model is asked about.
    whole = [node for node in observed if _is_same(node["value"], x)]
    if whole:
        return Sites(tuple(latent), tuple(_data_site(node, audit, x) for node in whole))
    parts = [_site(node, audit, plate, _dtype(node["fn"].support)) for node in observed]
    return Sites(tuple(latent), tuple(parts))


def data_plate(model: Any, audit: Audit, rows: int) -> str | None:
    """Name of the plate of the data; others may have its dimension where it does not reach."""
    names = [
        plate.name
        for site in audit.sites
        if site.guide is None
        for plate in vectorized(model.nodes[site.name])
        if (plate.dim, plate.size) == (audit.axes.data, rows)
    ]
    return "data" if "data" in names else next(iter(names), None)


def _site(node: Any, audit: Audit, plate: str | None, dtype: np.dtype[Any]) -> Site:
    """A site whose dimensions are the plates that it is in, and its own."""
    events, shape = len(node["fn"].event_shape), tuple(node["value"].shape)
    plates = max(audit.axes.nesting, len(shape) - events)
    shape = (1,) * (plates + events - len(shape)) + shape
    named = {
        plates + each.dim: "data" if each.name == plate else plate_name(each.name)
        for each in vectorized(node)
        if each.dim
    }
    lost = [axis for axis in range(plates) if axis not in named and shape[axis] == 1]
    own = [axis for axis in range(len(shape)) if axis not in named and axis not in lost]
    named |= dict(zip(own, own_dims(node["name"], len(own)), strict=True))
    axes = sorted(named, key=lambda axis: (named[axis] != "data", axis))
    return Site(
        node["name"],
        tuple(named[axis] for axis in axes),
        (*axes, *lost),
        math.prod(shape[axis] for axis in axes if named[axis] != "data"),
        dtype,
    )


def _data_site(node: Any, audit: Audit, x: Tensor) -> Site:
    """A site that x is observed at as it is: its dimensions are those of x."""
    axes = max(audit.axes.nesting + len(node["fn"].event_shape), x.dim())
    first = axes - x.dim()
    return Site(
        node["name"],
        data_dims(node["name"], x),
        (*range(first, axes), *range(first)),
        math.prod(x.shape[1:]),
        _dtype(node["fn"].support),
    )


def _is_same(value: Tensor, x: Tensor) -> bool:
    return value.shape == x.shape and torch.equal(value.to(x.dtype), x)


def _dtype(support: constraints.Constraint) -> np.dtype[Any]:
    """The smallest type without loss; signed, as ArviZ counts on, and as differences need."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.boolean:
        return np.dtype(np.int8)
    return np.dtype(np.int32 if support.is_discrete else np.float32)
