"""Recipes: published protocols as settings by name, with sources and results.

A recipe is a YAML file in ``ppvae/recipes``: the settings of a fit, and under ``about`` what they
reproduce. It defines every setting of the protocol, so it does not change with the defaults of the
package. ``--recipe NAME`` uses it, ``--recipe list`` shows all of them.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppvae.errors import InputError, nearest

FOLDER = Path(__file__).parent.parent / "recipes"

LIST = "list"
"""The name that lists all recipes."""


@dataclass(frozen=True)
class Recipe:
    """A published protocol.

    Attributes:
        name: its name.
        title: model and data.
        source: its publication.
        differs: differences from the published protocol.
        measure: the measure on the test data: ``"log p(x)"`` in nats per datum, or ``"accuracy"``
            of the classes in percent.
        samples: importance samples of log p(x); 0 if there are none.
        seeds: number of seeds in the mean.
        published: the published result.
        ours: the result of this package, as `measured` says; ``None``: not measured yet.
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
        InputError: if there is none, with the list of recipes.
    """
    known = recipes()
    if name not in known:
        raise InputError(
            f"`recipe` is {name!r}; it must be one of {', '.join(known)}{nearest(name, known)}"
        )
    return known[name]


def _read(file: Path) -> Recipe:
    import yaml  # late: `--help` does not need it

    content = yaml.safe_load(file.read_text("utf-8"))
    about = content.pop("about")
    return Recipe(name=file.stem, **about | {"seeds": tuple(about["seeds"])}, settings=content)
