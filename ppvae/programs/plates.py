"""The plates of a site, and how many of its data each takes.

A plate is Pyro's ``CondIndepStackFrame``. A site holds its plates in ``cond_indep_stack``, which
only this file reads.
"""

from collections.abc import Iterable
from math import prod
from typing import Any

from pyro.poutine.indep_messenger import CondIndepStackFrame

from ppvae.programs.sites import Nodes, family_name, number

PARTICLES = "num_particles_vectorized"
"""Pyro's name of the plate of the particles."""

Plate = CondIndepStackFrame
Plates = frozenset[CondIndepStackFrame]


def every_plate(node: Any) -> tuple[Plate, ...]:
    """The plates of a site, including loops and particles, outermost first."""
    return tuple(node["cond_indep_stack"])


def vectorized(node: Any) -> list[Plate]:
    """The plates of a site that are dimensions, not loops; including particles."""
    return [plate for plate in every_plate(node) if plate.vectorized]


def plates(node: Any) -> Plates:
    """The vectorized plates of a site, without particles."""
    return frozenset(plate for plate in vectorized(node) if plate.name != PARTICLES)


def dims(node: Any, data: Plates) -> list[int]:
    """The dimensions of a site that are plates of the data, or particles."""
    kept = [plate for plate in vectorized(node) if plate in data or plate.name == PARTICLES]
    return [plate.dim for plate in kept if plate.dim is not None]


def is_in(node: Any, name: str) -> bool:
    """Whether a site lies in the plate of this name."""
    return any(plate.name == name for plate in every_plate(node))


def plate_along(node: Any, dim: int | None, size: int) -> Plate | None:
    """The plate of a site that has this dimension and size, if there is one."""
    found = (plate for plate in vectorized(node) if (plate.dim, plate.size) == (dim, size))
    return next(found, None)


def full_size(plate: Plate) -> int:
    """N, the full size of a plate."""
    return int(plate.size if plate.full_size is None else plate.full_size)


def ratio(plate: Plate) -> float:
    """N / B, where a plate takes B of N."""
    return full_size(plate) / plate.size


def subsampling(node: Any, within: Plates | None = None) -> float:
    """N / B of a site, over all of its plates, or over those ``within``."""
    return prod(ratio(plate) for plate in every_plate(node) if within is None or plate in within)


def is_scaled(node: Any) -> bool:
    """Whether a program scales a site by a factor other than that of its subsampled plates."""
    expected = subsampling(node)
    return abs(number(node["scale"]) - expected) > 1e-6 * expected


def nesting(nodes: Iterable[Any]) -> int:
    """How deep the vectorized plates of some sites are nested."""
    return max((-plate.dim for node in nodes for plate in vectorized(node) if plate.dim), default=0)


def data_plate(model: Nodes, rows: int) -> Plate | None:
    """The plate of the observed sites with ``rows`` data; of several, the one named "data"."""
    found = {
        plate.name: plate
        for node in model.values()
        if node["is_observed"]
        for plate in vectorized(node)
        if plate.size == rows
    }
    return found.get("data") or next(iter(found.values()), None)


def listed_plates(plates: Iterable[Plate]) -> str:
    """Names of plates, for a sentence."""
    return " or ".join(sorted(f"'{plate.name}'" for plate in plates))


def describe(node: Any) -> str:
    """Family and plates of a site, for a sentence."""
    inside = [
        f"'{plate.name}'" if plate.vectorized else f"'{plate.name}' (a loop)"
        for plate in every_plate(node)
        if plate.name != PARTICLES
    ]
    return f"{family_name(node['fn'])}, in {'plate ' if inside else 'no plate'}{', '.join(inside)}"
