"""Runs, and their ArviZ trees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

import ppvae
import ppvae.arviz.drawing
import ppvae.arviz.sizes
from ppvae.diagnostics.trust.calibration import calibrate
from ppvae.run import Run
from tests.support.fits import leave_out_slow_parts, small

SIGMAS = 5.0
CHAINS, DRAWS = 2, 30
SAMPLED = ("chain", "draw", "data")
SMALL_TREE: dict[str, Any] = {"chains": CHAINS, "draws": DRAWS, "samples": 20}
OWN: dict[str, Any] = {"likelihood": ..., "decoder": ..., "encoder": ..., "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def fitted(folder: Path, out: str, **settings: Any) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        return small(folder, out, **settings)


def steep(run: Run) -> Run:
    """The run with weights that separate data and latents, as after a longer fit."""
    with torch.no_grad():
        for p in run.pair.parameters():
            p.mul_(3.0)
    return run


@pytest.fixture(scope="module")
def tables(folder: Path) -> Run:
    return steep(fitted(folder, "table"))


@pytest.fixture(scope="module")
def images(folder: Path) -> Run:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (90, 5, 4), dtype=np.uint8)
    y = np.array(["left", "right", "middle"])[generator.integers(0, 3, 90)]
    np.savez(folder / "images.npz", x=x, y=y)
    return steep(
        fitted(
            folder, "images", data=folder / "images.npz", likelihood="Bernoulli", binarize="dynamic"
        )
    )


@pytest.fixture(scope="module")
def table_tree(tables: Run) -> xr.DataTree:
    split = tables.data().test
    calibration = calibrate(tables.pair, tables.audit, split, simulations=50, draws=19)
    return ppvae.to_datatree(tables, calibration=calibration, **SMALL_TREE)


@pytest.fixture(scope="module")
def image_tree(images: Run) -> xr.DataTree:
    return ppvae.to_datatree(images, **SMALL_TREE)


def values(tree: xr.DataTree, path: str) -> Tensor:
    return torch.from_numpy(tree[path].to_numpy().copy())


def is_near(found: Tensor, want: Tensor, error: Tensor | float) -> bool:
    return bool(((found - want).abs() < SIGMAS * error).all())
