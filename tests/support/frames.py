"""A small table with a column of each kind."""

import numpy as np
import pandas as pd

ROWS = 40
PLACES = np.arange(ROWS)
FRAME = pd.DataFrame(
    {
        "bill": 40 + PLACES / 7,
        "year": 2007 + PLACES % 3,
        "eggs": PLACES % 4,
        "ringed": PLACES % 2 == 0,
        "species": np.array(["Adelie", "Gentoo", "Chinstrap"])[PLACES % 3],
        "code": PLACES % 2,
    }
)
