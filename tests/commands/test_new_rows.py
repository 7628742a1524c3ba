"""New rows for a fitted model: rows that it cannot score are refused in every command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae.compare import compare
from ppvae.data import as_split, from_arrays
from ppvae.diagnose import diagnose
from ppvae.encode import encode
from ppvae.errors import InputError
from ppvae.fit import resume
from ppvae.guides import Delta
from ppvae.run import Run
from ppvae.sample import sample
from tests.support.fits import quick, small, table

__all__ = ["quick"]  # a fixture, used by every test here

READERS: list[Callable[..., Any]] = [encode, sample, diagnose]
X = torch.from_numpy(table(12))


def bits(rows: int = 60) -> Any:
    return np.random.default_rng(0).integers(0, 2, (rows, 4)).astype(np.float32)


@pytest.mark.parametrize("read", READERS)
def test_a_split_from_python_is_held_to_the_support_too(
    read: Callable[..., Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "b.npy", bits())
    run = small(tmp_path, data=tmp_path / "b.npy", likelihood="Bernoulli", epochs=1)
    outside = torch.from_numpy(bits(8))
    outside[5, 2] = 0.5
    with pytest.raises(
        InputError, match=r"row 5 \(counted from 0\) of the data holds 0\.5, and Bernoulli"
    ):
        read(run, data=as_split(outside))
    hidden = outside != 0.5  # what was not observed may be anything
    assert len(encode(run, data=as_split(outside, mask=hidden), out=tmp_path / "c.npz")["loc"]) == 8


def test_a_file_that_has_changed_since_the_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", bits())
    run = small(tmp_path, data=tmp_path / "b.npy", likelihood="Bernoulli", epochs=1)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    np.save(tmp_path / "b.npy", bits() * 0.5)
    calls: list[Callable[[], Any]] = [
        lambda: resume(run.path, epochs=2),
        lambda: encode(run),
        lambda: compare(run=run, epochs=1, seeds=1, draws=4, out=tmp_path / "compared"),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"is not the data that .* was fitted to"):
            call()
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "compared").exists()


def test_y_must_be_as_it_was_in_the_fit(tmp_path: Path) -> None:
    """Whole numbers for covariates would silently become one-hot vectors."""
    y = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=table(60), y=y)
    run = small(tmp_path, data=tmp_path / "d.npz", model="ConditionalVAE", epochs=1)
    for wrong, says in (
        (torch.zeros(12, dtype=torch.int64), "y of shape"),
        (torch.zeros(12, 3), "y of shape"),
        (None, "no y"),
    ):
        with pytest.raises(InputError, match=says):
            encode(run, data=as_split(X, wrong))


def without_mask(x: torch.Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True).expand_as(x), 1.0).to_event(1), obs=x)


def test_a_mask_that_the_model_would_not_hear_of(tmp_path: Path) -> None:
    own: dict[str, Any] = {"likelihood": ..., "decoder": ..., "model": without_mask}
    run = small(tmp_path, epochs=1, **own)
    with pytest.raises(InputError, match="does not take one"):
        encode(run, data=as_split(X, mask=torch.rand(X.shape) < 0.5))


def test_a_part_of_which_nothing_was_observed_is_refused() -> None:
    """A row or a column may be completely unknown, but not a held-out part."""
    x, mask = table(60), np.ones((60, 3), bool)
    mask[7], mask[:, 1] = False, False
    from_arrays(x, mask=mask)
    for known in (0, 1):
        mask[known:] = False
        with pytest.raises(InputError, match="mask is False in all"):
            from_arrays(x, mask=mask)


def test_one_row_is_enough(tmp_path: Path) -> None:
    """Ten rows leave one for validation and one for testing; new data may be a single row."""
    np.save(tmp_path / "t.npy", table(10))
    run = small(tmp_path, data=tmp_path / "t.npy")
    assert run.summary is not None
    assert run.summary["rows"] == 1
    assert run.summary["log_p"]["standard_error"] is None  # one datum tells no spread
    found = encode(run, data=as_split(X[:1]), out=tmp_path / "one.npz")
    assert np.isfinite(found["log_p"]).all()


def test_a_schedule_that_goes_up_and_down(tmp_path: Path) -> None:
    """CyclicLR does not get the argument ``mode`` of ReduceLROnPlateau."""
    cycle = {"base_lr": 0.001, "max_lr": 0.005, "step_size_up": 2}
    run = small(tmp_path, epochs=5, schedule={"class_path": "CyclicLR", "init_args": cycle})
    paces = [row["lr"] for row in run.history() if row["split"] == "valid"]
    assert paces == pytest.approx([0.001, 0.003, 0.005, 0.003, 0.001])


def test_a_run_with_a_point_mass_reads_new_rows(tmp_path: Path) -> None:
    run: Run = small(tmp_path, guide=Delta, beta=0.0, epochs=1)
    assert encode(run, data=as_split(X), out=tmp_path / "c.npz")["loc"].shape == (12, 2)
