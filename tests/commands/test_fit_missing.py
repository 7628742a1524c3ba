"""Fits to data with missing entries."""

import json
import math
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppvae.diagnose import diagnose
from ppvae.errors import InputError
from ppvae.models import (
    Likelihood,
)
from tests.support.fits import quick, small

__all__ = ["quick"]  # a fixture: no pictures


def test_a_fit_is_the_same_whatever_stands_at_missing_entries(tmp_path: Path, quick: None) -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(60, 3)), rng.random((60, 3)) < 0.6
    summaries = []
    for name, filler in (("nan", np.nan), ("number", 1e3), ("infinity", -np.inf)):
        np.savez(tmp_path / f"{name}.npz", x=np.where(mask, x, filler), mask=mask)
        run = small(tmp_path, out=name, data=tmp_path / f"{name}.npz")
        summary = json.loads((run.path / "summary.json").read_text())
        summaries.append({key: value for key, value in summary.items() if key != "seconds"})
        assert math.isfinite(summary["log_p"]["mean"])
    assert summaries[0] == summaries[1] == summaries[2]


def test_bits_of_a_fit_and_of_its_diagnosis_are_per_observed_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    rng = np.random.default_rng(0)
    x, mask = rng.integers(0, 256, (60, 1, 4, 4), dtype=np.uint8), rng.random((60, 1, 4, 4)) < 0.4
    np.savez(tmp_path / "grey.npz", x=x, mask=mask)
    run = small(tmp_path, data=tmp_path / "grey.npz", likelihood="DiscretizedLogistic", epochs=1)
    summary = json.loads((run.path / "summary.json").read_text())
    test = run.data().test
    count = int(test.take(torch.arange(len(test)))["mask"].sum())
    nats = len(test) * summary["log_p"]["mean"]
    assert summary["bits_per_dim"] == pytest.approx(-nats / count / math.log(2))
    assert summary["bits_per_dim"] == pytest.approx(8, abs=2)  # noise, of which nothing is learned
    diagnose(run, quick=True, only=["bound"], out=tmp_path / "diagnosis")
    record = json.loads((tmp_path / "diagnosis" / "diagnostics.json").read_text())
    bound = record["answers"]["bound"]
    nats = len(test) * bound["elbo"]["value"]
    assert bound["bits_per_dim"]["value"] == pytest.approx(-nats / count / math.log(2))


class Positive(Likelihood):
    """Log-normal elements, whose support excludes the zeros of unobserved entries."""

    support = dist.constraints.positive

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.LogNormal(h[..., 0, :], 1.0).to_event(1)
        return fn


def test_missing_entries_need_not_have_a_probability(tmp_path: Path, quick: None) -> None:
    rng = np.random.default_rng(0)
    x, mask = 0.1 + 0.8 * rng.random((60, 3)), rng.random((60, 3)) < 0.6
    np.savez(tmp_path / "x.npz", x=x, mask=mask)
    run = small(tmp_path, data=tmp_path / "x.npz", likelihood=Positive, epochs=1)
    assert math.isfinite(json.loads((run.path / "summary.json").read_text())["log_p"]["mean"])
    x[3, 1], mask[3, 1] = 0, True
    np.savez(tmp_path / "x.npz", x=x, mask=mask)
    with pytest.raises(InputError, match="holds 0, and LogNormal"):
        small(tmp_path, out="other", data=tmp_path / "x.npz", likelihood=Positive, epochs=1)
