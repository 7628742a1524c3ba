"""Sites of the programs in a tree, and the axes of their values.

They are found from one trace of each program on a few rows.
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
    """A sample site, and the order of the axes of its values.

    Attributes:
        name: its name in the programs.
        dims: names of the dimensions of one draw, data first.
        axes: the axes of one draw, ``(*plates, *event)``, in the order of ``dims``; after them the
            remaining axes, all of size 1: plates that do not contain the site.
        size: number of elements of one draw, per datum where ``dims`` has the data.
        dtype: its type in the tree.
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
        """The bytes of one draw."""
        return self.size * (rows if "data" in self.dims else 1) * self.dtype.itemsize

    def arranged(self, value: Tensor) -> NDArray[Any]:
        """``([draws], *plates, *event)``, some plates perhaps missing, as ``(draws, *dims)``."""
        missing = 1 + len(self.axes) - value.dim()
        full = value.reshape((1,) * missing + value.shape)
        moved = full.permute(0, *(1 + axis for axis in self.axes))
        values = moved.reshape(moved.shape[: 1 + len(self.dims)]).cpu().numpy()
        return values.astype(self.dtype)


class Sites(NamedTuple):
    """Latent sites, and the sites where the data are observed."""

    latent: tuple[Site, ...]
    observed: tuple[Site, ...]


def find_sites(pair: Pair, audit: Audit, batch: Batch) -> Sites:
    """The sites of the tree, found on a few rows."""
    _, model = traces(pair, batch)
    nodes, x = model.nodes, batch["x"]
    plate = data_plate(model, audit, len(x))
    values = {name: nodes[name]["value"].detach().cpu().numpy() for name in audit.latents}
    latent = [_site(nodes[name], audit, plate, value.dtype) for name, value in values.items()]
    observed = [nodes[site.name] for site in audit.sites if site.guide is None]
    # Where a site observes all of x, further observed sites hold labels that condition the model.
    whole = [node for node in observed if _is_same(node["value"], x)]
    if whole:
        return Sites(tuple(latent), tuple(_data_site(node, audit, x) for node in whole))
    parts = [_site(node, audit, plate, _dtype(node["fn"].support)) for node in observed]
    return Sites(tuple(latent), tuple(parts))


def data_plate(model: Any, audit: Audit, rows: int) -> str | None:
    """Name of the plate of the data; another plate may use its dimension at other sites."""
    names = [
        plate.name
        for site in audit.sites
        if site.guide is None
        for plate in vectorized(model.nodes[site.name])
        if (plate.dim, plate.size) == (audit.axes.data, rows)
    ]
    return "data" if "data" in names else next(iter(names), None)


def _site(node: Any, audit: Audit, plate: str | None, dtype: np.dtype[Any]) -> Site:
    """A site whose dimensions are its plates and its own."""
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
    """A site that observes x in its own shape, so that its dimensions are those of x."""
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
    """The smallest lossless type; signed, as ArviZ expects, and as differences need."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.boolean:
        return np.dtype(np.int8)
    return np.dtype(np.int32 if support.is_discrete else np.float32)
