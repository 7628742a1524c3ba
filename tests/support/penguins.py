"""A table in the shape of the Palmer penguins: four measurements of three species."""

import numpy as np
from numpy.typing import NDArray

SHARES = np.array([0.44, 0.2, 0.36])
LOCS = np.array([[38.8, 18.3, 190, 3700], [48.8, 18.4, 196, 3733], [47.5, 15.0, 217, 5076]])
"""Bill length and depth and flipper length in mm, and mass in g, of Adelie, Chinstrap, Gentoo."""

BETWEEN_SEXES = np.array([[3.5, 1.5, 6.5, 675], [5.6, 1.6, 5.5, 420], [4.9, 1.5, 9.3, 805]])
SCALES = np.array([[2.4, 1.0, 4.5, 285], [2.2, 0.74, 5.7, 300], [2.0, 0.54, 5.5, 280]])
CORRELATION = 0.3


def penguins(rows: int = 342, seed: int = 0) -> NDArray[np.float64]:
    """Rows of six clusters, a species and a sex each, whose measurements correlate by size.

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
