"""A simulated table like the Palmer penguins: four measurements of three species."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.networks.columns import Column

if TYPE_CHECKING:  # slow to import
    import pandas as pd

SHARES = np.array([0.44, 0.2, 0.36])
LOCS = np.array([[38.8, 18.3, 190, 3700], [48.8, 18.4, 196, 3733], [47.5, 15.0, 217, 5076]])
"""Bill length and depth and flipper length in mm, and mass in g, of Adelie, Chinstrap, Gentoo."""

BETWEEN_SEXES = np.array([[3.5, 1.5, 6.5, 675], [5.6, 1.6, 5.5, 420], [4.9, 1.5, 9.3, 805]])
SCALES = np.array([[2.4, 1.0, 4.5, 285], [2.2, 0.74, 5.7, 300], [2.0, 0.54, 5.5, 280]])
CORRELATION = 0.3


def penguins(rows: int = 342, seed: int = 0) -> NDArray[np.float64]:
    """Rows of six clusters, one per species and sex, whose measurements correlate through size.

    Shapes: ``(rows, 4)``.
    """
    rng = np.random.default_rng(seed)
    species, sex = rng.choice(3, rows, p=SHARES), rng.choice([-0.5, 0.5], (rows, 1))
    size, alone = rng.standard_normal((rows, 1)), rng.standard_normal((rows, 4))
    off = CORRELATION**0.5 * size + (1 - CORRELATION) ** 0.5 * alone
    table: NDArray[np.float64] = (
        LOCS[species] + sex * BETWEEN_SEXES[species] + SCALES[species] * off
    )
    return table


SPECIES = ("Adelie", "Chinstrap", "Gentoo")
ISLANDS = ("Biscoe", "Dream", "Torgersen")
SEXES = ("female", "male")
MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
ON_ISLANDS = np.array([[0.3, 0.37, 0.33], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
DIVES = np.array([4.0, 12.0, 30.0])
"""Islands of the species, and their mean dives per hour, for negative binomial counts."""


def mixed_penguins(rows: int = 342, seed: int = 0, missing: float = 0.03) -> "pd.DataFrame":
    """The measurements with species, island, sex and a count, and empty cells."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    species, sex = rng.choice(3, rows, p=SHARES), rng.integers(0, 2, rows)
    size, alone = rng.standard_normal((rows, 1)), rng.standard_normal((rows, 4))
    off = CORRELATION**0.5 * size + (1 - CORRELATION) ** 0.5 * alone
    measured = LOCS[species] + (sex[:, None] - 0.5) * BETWEEN_SEXES[species] + SCALES[species] * off
    island = [rng.choice(3, p=ON_ISLANDS[each]) for each in species]
    table = pd.DataFrame(
        {
            "species": np.array(SPECIES)[species],
            "island": np.array(ISLANDS)[island],
            **{name: measured[:, i].round(1) for i, name in enumerate(MEASURES)},
            "dives": rng.poisson(rng.gamma(4, DIVES[species] / 4)),
            "sex": np.array(SEXES)[sex],
        }
    )
    return table.mask(rng.random(table.shape) < missing)


COLUMNS = (
    Column("species", "category", SPECIES), Column("island", "category", ISLANDS),
    *(Column(name, "real") for name in MEASURES),
    Column("dives", "count"), Column("sex", "category", SEXES),
)  # fmt: skip


def as_modelled(table: "pd.DataFrame") -> tuple[Tensor, Tensor]:
    """The table as a model sees it, with standardized reals, and its mask, both ``(rows, 8)``."""
    each = []
    for column in COLUMNS:
        values = table[column.name]
        if column.levels:
            values = values.map({level: code for code, level in enumerate(column.levels)})
        elif column.kind == "real":
            values = (values - values.mean()) / values.std(ddof=0)
        numbers = values.to_numpy(np.float64, copy=True, na_value=np.nan)
        each.append(torch.from_numpy(numbers).float())
    x = torch.stack(each, 1)
    return x.nan_to_num(0.0), ~x.isnan()
