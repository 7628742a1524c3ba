"""Recipes: published protocols as settings by name, each with its source and its figures.

A recipe is a YAML file of ``ppvae/recipes``: the settings of a fit, and under ``about`` what they
reproduce. It writes out every setting of the protocol, so that it stays as it is when a default of
the package moves. ``--recipe NAME`` takes it, ``--recipe list`` shows all of them.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppvae.errors import InputError, nearest

FOLDER = Path(__file__).parent.parent / "recipes"

LIST = "list"
"""What is asked for in place of a name, to be shown all of them."""


@dataclass(frozen=True)
class Recipe:
    """A published protocol.

    Attributes:
        name: its own.
        title: what is fitted, to which data.
        source: where it was published.
        differs: what these settings do otherwise than the published protocol.
        measure: what its figure is of the test data: ``"log p(x)"`` in nats per datum, or
            ``"accuracy"`` of the classes in percent.
        samples: importance samples of log p(x); 0 where there are none.
        seeds: seeds that the figure is a mean over.
        published: the published figure.
        ours: the figure of this package, as `measured` says; ``None``: not measured yet.
        measured: how ours was measured: errors, date and command.
        settings: the settings of the fit, by name.
    """

    name: str
    title: str
    source: str
    differs: str
    measure: str
    samples: int
    seeds: tuple[int, ...]
    published: float
    ours: float | None
    measured: str
    settings: Mapping[str, Any]


@functools.cache
def recipes() -> Mapping[str, Recipe]:
    """All recipes, by name."""
    return {file.stem: _read(file) for file in sorted(FOLDER.glob("*.yaml"))}


def recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        InputError: if there is none, with those that there are.
    """
    known = recipes()
    if name not in known:
        raise InputError(
            f"`recipe` is {name!r}; it must be one of {', '.join(known)}{nearest(name, known)}"
        )
    return known[name]


def _read(file: Path) -> Recipe:
    import yaml  # late: `--help` needs none

    content = yaml.safe_load(file.read_text("utf-8"))
    about = content.pop("about")
    return Recipe(name=file.stem, **about | {"seeds": tuple(about["seeds"])}, settings=content)
