"""Names of sites and dimensions in a tree.

Names are unique, and have no ``/``, which separates groups.
"""

from torch import Tensor

AXES = {1: ("column",), 2: ("row", "column"), 3: ("channel", "row", "column")}
"""Names of the dimensions of one datum, by their number: a table's row, an image."""

_NO_PLATE = frozenset({"chain", "draw", "sample", "data", "label"})
"""Names that a plate cannot have in a tree, as they are dimensions already."""

_NO_VARIABLE = _NO_PLATE | {"channel", "row", "column"}
"""Names that a site cannot have in a tree."""


def variable_name(site: str) -> str:
    """The name of a site's values."""
    return _free(site, _NO_VARIABLE)


def plate_name(plate: str) -> str:
    """The name of the dimension of a plate, other than that of the data."""
    return _free(plate, _NO_PLATE)


def data_dims(name: str, x: Tensor) -> tuple[str, ...]:
    """Names of the dimensions of x, or of an array of its shape, ``(data, ...)``."""
    return ("data", *(AXES.get(x.dim() - 1) or own_dims(name, x.dim() - 1)))


def own_dims(name: str, count: int) -> tuple[str, ...]:
    """Names of a site's own dimensions, which are not plates."""
    dim = f"{_legal(name)}_dim"
    return (dim,) if count == 1 else tuple(f"{dim}_{i}" for i in range(count))


def _free(name: str, taken: frozenset[str]) -> str:
    legal = _legal(name)
    return f"{legal}_" if legal in taken else legal


def _legal(name: str) -> str:
    return name.replace("/", ".")
