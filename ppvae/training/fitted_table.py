"""A fitted table with results as arrays in its units."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.components.data_support import check_rows
from ppvae.data import Split, as_split
from ppvae.diagnostics.evidence.rows_apart import loc_apart, log_p_apart
from ppvae.programs.generation import Generated, decode
from ppvae.programs.isolation import in_turn
from ppvae.programs.streams import seeded
from ppvae.training.climbing import Climbed

type Array = NDArray[Any]


@dataclass(frozen=True)
class FittedTable:
    """A fitted pair of programs, used in the units of the data.

    Tables are ``(rows, columns)``, with NaN where nothing was observed; codes are ``(rows,
    latent)``, all latents concatenated.

    Args:
        climbed: the pair, which is converted to double precision: results of a row then agree to
            about 14 digits whatever the other rows.
    """

    climbed: Climbed

    def __post_init__(self) -> None:
        self.climbed.pair.double()

    @property
    def has_evidence(self) -> bool:
        """Whether there is a log p(x)."""
        return self.climbed.audit.has_evidence

    @property
    def width(self) -> int:
        """Number of latent dimensions."""
        return sum(map(math.prod, self._latents.values()))

    @property
    def _latents(self) -> dict[str, tuple[int, ...]]:
        """Shape of each latent, for one row."""
        shapes = {site.name: site.shape[1:] for site in self.climbed.audit.sites}
        return {name: shapes[name] for name in self.climbed.audit.latents}

    @in_turn
    def codes(self, x: Array, *, seed: int) -> Array:
        """The mean of q(z | x) of each row; see `ppvae.diagnostics.evidence.rows_apart`."""
        found: Array = loc_apart(
            self.climbed.pair, self.climbed.audit, self._rows(x), seed=seed
        ).numpy()
        return found

    @in_turn
    def log_p(self, x: Array, *, samples: int, seed: int) -> Array:
        """Estimate log p(x) of each row, in nats; a density is in the unit of the given values.

        For x = (raw - loc) / scale, the density of raw is that of x divided by the product of the
        scales of observed entries. Probabilities do not change.
        """
        pair, audit, scaling = self.climbed.pair, self.climbed.audit, self.climbed.scaling
        of_x: Array = log_p_apart(pair, audit, self._rows(x), samples=samples, seed=seed).numpy()
        if all(support.is_discrete for _, support in audit.supports.values()):
            return of_x
        log_scale = scaling.undo_spread(torch.ones(x.shape[1])).log().numpy()
        log_density: Array = of_x - np.where(np.isnan(x), 0, log_scale).sum(1)
        return log_density

    @in_turn
    def means(self, codes: Array, *, seed: int) -> Array:
        """The mean of p(x | z) at each code."""
        ends = np.cumsum([math.prod(shape) for shape in self._latents.values()])
        parts = np.split(codes, ends[:-1], axis=1)
        latents = {
            name: torch.from_numpy(part).reshape(len(codes), *shape)
            for (name, shape), part in zip(self._latents.items(), parts, strict=True)
        }
        return self._raw(self._generated(len(codes), latents, seed).mean)

    @in_turn
    def draws(self, rows: int, *, seed: int) -> Array:
        """Draws of x ~ p(x | z) at z ~ p(z)."""
        return self._raw(self._generated(rows, {}, seed).draw)

    def _rows(self, x: Array) -> Split:
        """Rows as the model sees them."""
        climbed, seen = self.climbed, ~np.isnan(x)
        mask = None if seen.all() else torch.from_numpy(seen)
        rows = as_split(climbed.scaling.apply(torch.from_numpy(np.where(seen, x, 0))), mask=mask)
        check_rows(rows, climbed.pair, climbed.audit, climbed.example, "X")
        return rows

    def _generated(self, rows: int, latents: dict[str, Tensor], seed: int) -> Generated:
        like = self.climbed.example["x"].new_zeros(rows, *self.climbed.example["x"].shape[1:])
        with seeded(seed):
            return decode(self.climbed.pair, self.climbed.audit, {"x": like}, latents)

    def _raw(self, x: Tensor) -> Array:
        raw: Array = self.climbed.scaling.undo(x).numpy()
        return raw
