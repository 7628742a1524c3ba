"""Default fits have a higher log p(x) than simple models of the same data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppvae.data import from_arrays
from ppvae.fit import fit
from tests.benchmarks.tables_of_numbers import TABLES

pytestmark = pytest.mark.slow


def baselines(**settings: Any) -> dict[str, Any]:
    """Those in the summary of a fit."""
    summary = fit(device="cpu", compile="off", **settings).summary
    assert summary is not None
    found: dict[str, Any] = summary["baselines"]
    return found


def test_the_default_fit_of_the_digits_is_better_than_a_mixture_of_bernoullis(
    tmp_path: Path,
) -> None:
    found = baselines(out=tmp_path / "run")
    assert found["mixture"]["about"].startswith("mixture of")
    assert found["mixture"]["difference"] > 0
    assert found["independent"]["difference"] > 4


@pytest.mark.parametrize("table", TABLES)
def test_the_default_fit_of_real_numbers_is_better_than_probabilistic_pca(
    table: str, tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).permutation(TABLES[table]()).astype(np.float32)
    found = baselines(
        data=from_arrays(rows), likelihood="Gaussian", latent_dim=2, out=tmp_path / "run"
    )
    assert found["pca"]["about"] == "probabilistic PCA of 2"
    assert found["pca"]["difference"] > 0
