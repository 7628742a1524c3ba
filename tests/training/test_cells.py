"""Codes of single cells encode their types, and neither sequencing depth nor batch."""

from typing import Any

import numpy as np
import pytest

from ppvae.fit import fit
from ppvae.run import Run, load
from tests.support.cells import (
    SETTINGS,
    Cells,
    Judged,
    as_data,
    as_rows,
    codes_of,
    decoded,
    simulated,
)
from tests.support.fits import quick

__all__ = ["quick"]  # a fixture: fits without pictures


def fitted(cells: Cells, *, told: bool = True, **more: Any) -> tuple[Run, Any]:
    """A fit of cells, with size factors and batch or with neither, and the codes of all cells."""
    data = as_data(cells, sized=told, told=told)
    settings = SETTINGS | {"model": "ConditionalVAE" if told else "VAE", "in_memory": True} | more
    run = fit(data=data, quiet=True, compile="off", **settings)
    return run, codes_of(run, as_rows(cells, data))


def distance(shares: Any, cells: Cells, rows: Any, batch: int) -> float:
    """Distance of log shares of genes from those of the cells' types in a batch."""
    truth = np.log(cells.share[cells.type[rows], batch])
    return float(np.sqrt(np.square(np.log(shares) - truth).mean()))


@pytest.mark.slow
def test_size_factors_take_depth_and_covariates_take_batch_out_of_the_codes() -> None:
    cells = simulated(400, 100, depth=5.0)
    _, alone = fitted(cells, told=False, epochs=30, batch_size=32)
    run, codes = fitted(cells, epochs=30, batch_size=32)
    blind, told = Judged.of(alone, cells), Judged.of(codes, cells)
    assert blind.library > 0.7
    assert blind.batch > 0.3
    assert told.library < 0.15
    assert told.batch < 0.1
    assert told.type > blind.type + 0.2
    # Cells decoded under the other batch have the shares of that batch.
    rows = cells.batch == 0
    mean = decoded(run, codes[rows], 1)
    shares = mean / mean.sum(1, keepdims=True)
    assert distance(shares, cells, rows, 1) < 0.65 * distance(shares, cells, rows, 0)
    # A cell with a size factor of 1 has the average total.
    assert mean.sum(1).mean() == pytest.approx(cells.x.sum(1).mean(), rel=0.1)


def test_a_run_with_size_factors_is_opened_and_read_as_it_was_fitted(tmp_path: Any) -> None:
    cells = simulated(90, 20)
    run, codes = fitted(
        cells, epochs=1, in_memory=False, out=tmp_path / "run",
        likelihood={"class_path": "ZeroInflated", "init_args": {"dispersion": "gene-batch"}},
    )  # fmt: skip
    again = load(run.path)
    assert again.example()["size_factor"].shape == (len(again.example()["x"]),)
    data = as_data(cells)
    np.testing.assert_array_equal(codes_of(again, as_rows(cells, data)), codes)
    assert (run.summary or {})["elbo"] == pytest.approx((again.summary or {})["elbo"])


@pytest.mark.slow
def test_of_two_thousand_cells_codes_tell_the_types_alone() -> None:
    cells = simulated()
    _, codes = fitted(cells)
    judged = Judged.of(codes, cells)
    assert judged.library < 0.05
    assert judged.batch <= 0.05
    assert judged.type >= 0.9
