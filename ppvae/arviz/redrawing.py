"""Draws of x from a model in place of its observed x."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyro.poutine.messenger import Messenger

from ppvae.arviz.arrays import Array
from ppvae.arviz.sites import Site


class Redraw(Messenger):
    """Draws the data instead of observing it, and keeps both the draws and the observed data."""

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__()
        self._sites = {site.name: site for site in sites}
        self._drawn: dict[str, list[NDArray[Any]]] = defaultdict(list)
        self._observed: dict[str, NDArray[Any]] = {}

    @property
    def drawn(self) -> dict[str, Array]:
        """The draws of all calls of the program, by variable."""
        return {
            self._sites[name].variable: Array(
                ("sample", *self._sites[name].dims), np.concatenate(values)
            )
            for name, values in self._drawn.items()
        }

    @property
    def observed(self) -> dict[str, Array]:
        """The data, by variable."""
        return {
            self._sites[name].variable: Array(self._sites[name].dims, value[0])
            for name, value in self._observed.items()
        }

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name in self._sites and msg["is_observed"]:
            self._observed[name] = self._sites[name].arranged(msg["value"])
            msg["is_observed"], msg["value"], msg["done"] = False, None, False

    def _pyro_post_sample(self, msg: Any) -> None:
        name = msg["name"]
        if name in self._sites:
            self._drawn[name].append(self._sites[name].arranged(msg["value"]))
