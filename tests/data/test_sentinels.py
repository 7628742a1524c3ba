"""Notes on numbers that may mean "missing", and on names of several rows."""

import numpy as np
import pandas as pd
import pytest

from ppvae import data
from ppvae.data.sentinels import sentinel

NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([-999, 60, 70, -999, 90], (-999, 2)),
        ([1.5, 2.5, 99, 2, 99, 99], (99, 3)),
        ([-999, 60, 70, 80, 90], None),  # once: an outlier
        ([0, 1, 0, 1], None),
        ([5, 5, 5], None),
        ([0, 0, 0, 3, 9, 4], None),
        (NOISE.normal(size=500).round(), None),
        (np.exp(2 * NOISE.normal(size=500)), None),
    ],
)
def test_a_sentinel_is_repeated_and_far(
    values: list[float], found: tuple[float, int] | None
) -> None:
    assert sentinel(np.array(values, dtype=float)) == found


def test_a_table_is_read_with_notes_on_what_is_doubtful() -> None:
    frame = pd.DataFrame(
        {
            "patient": [f"P{i // 2}" if i < 4 else f"P{i}" for i in range(60)],
            "visits": np.where(np.arange(60) % 9, np.arange(60) % 7, -999),
            "height": np.linspace(150, 190, 60),
        }
    )
    told = data.load(frame, index="patient").describe()
    assert "column visits is -999 in 7 rows, far from all its other values" in told
    assert "the index patient has 4 rows whose name is not unique" in told
    own = frame.set_index("patient")
    assert "; the index has 4 rows whose name is not unique" in data.load(own).describe()
    frame["patient"] = [None, "", None, "", *(f"P{i}" for i in range(4, 60))]
    assert "unique" not in data.load(frame, index="patient").describe()
    assert "unique" not in data.load(frame.set_index("patient")).describe()
    frame["visits"] = frame["visits"].replace(-999, None)
    assert "far from" not in data.load(frame.drop(columns="patient")).describe()
