"""Rows that represent the data are all rows, or drawn by a seed, not the first of a file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ppvae.programs.streams import Stream
from ppvae.run import Run
from ppvae.sample import sample
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture: fits without pictures


def test_rows_are_drawn_by_the_seed_in_their_order_and_all_where_they_fit() -> None:
    few = Stream.SHOWN_ROWS.rows(1000, 50, 3)
    assert torch.equal(few, few.sort().values)
    assert len(few.unique()) == 50
    assert few.max() > 500
    assert torch.equal(few, Stream.SHOWN_ROWS.rows(1000, 50, 3))
    assert not torch.equal(few, Stream.SHOWN_ROWS.rows(1000, 50, 4))
    assert not torch.equal(few, Stream.EXAMPLES.rows(1000, 50, 3))
    assert torch.equal(Stream.SHOWN_ROWS.rows(50, 50, 3), torch.arange(50))


@pytest.mark.slow
def test_what_is_rebuilt_and_walked_between_is_of_all_of_a_sorted_file(tmp_path: Path) -> None:
    x = np.sort(np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32), axis=0)
    np.save(tmp_path / "sorted.npy", x)
    run: Run = small(tmp_path, data=tmp_path / "sorted.npy", epochs=1)
    found = sample(run, data=tmp_path / "sorted.npy", count=10, pairs=2, steps=3)
    first = run.new_data(tmp_path / "sorted.npy").take(torch.arange(60))["x"].numpy()
    assert found["x"].max() > first.max()
    again = sample(run, data=tmp_path / "sorted.npy", count=10, pairs=2, steps=3, overwrite=True)
    assert all(np.array_equal(found[name], again[name]) for name in found)
