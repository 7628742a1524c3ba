"""The table of the time to a bound, on toy data: its rows, its bar and its held-out bound."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from tests.benchmarks import race, time_to_bound
from tests.benchmarks.contenders import networks
from tests.benchmarks.held_out import held_out_bound
from tests.benchmarks.initial import initial_weights
from tests.benchmarks.job import Job, Spread
from tests.benchmarks.plan import Plan
from tests.support.captures import by_graph
from tests.support.fits import quick
from tests.support.toy_mode import here, rows_of, uncompiled

__all__ = ["by_graph", "here", "quick", "uncompiled"]  # fixtures


@pytest.mark.slow
def test_time_to_bound(tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 28, 28), np.uint8)
    np.save(tmp_path / "x.npy", images)
    job = Job("mlp", batch=10, latent=2, encoder=(4,), decoder=(4,), epochs=2)
    monkeypatch.setattr(time_to_bound, "TARGET", -1e9)
    monkeypatch.setattr(time_to_bound, "_THEIRS", {"torch": replace(job, epochs=0)})
    names = ["ours-compiled", "pyro-meanfield", "numpyro-loop", "torch"]
    plan = Plan(tmp_path / "x.csv", 1, only=names)
    time_to_bound.time_to_bound(plan, str(tmp_path / "x.npy"), job)
    rows = rows_of(plan.out)
    assert [row["contender"] for row in rows] == [*names, "torch"]
    assert all(row["note"] == "" and float(row["all_seconds"]) > 0 for row in rows)
    bounds = [float(row["bound"]) for row in rows]
    assert bounds == pytest.approx([np.mean(bounds)] * len(bounds), rel=0, abs=20)


@pytest.mark.parametrize(
    ("seconds", "bound", "verdict"),
    [
        (9.0, -96.9, ""),
        (9.0, -98.3, "not within its 3 epochs: at -98.30"),
        (10.0, -98.3, "not within 10 s: at -98.30"),
    ],
)
def test_a_fit_that_reaches_no_bound_says_where_it_is(
    seconds: float, bound: float, verdict: str
) -> None:
    result = race.Result(seconds=1.0)
    fit = time_to_bound._Fit("torch", "ours", result, seconds, steps=9, epochs=3, bound=bound)
    assert time_to_bound._verdict(fit, limit=10.0) == verdict
    assert fit.all_seconds == (None if verdict else 10.0)


@pytest.mark.parametrize(
    ("reached", "ratio"),
    [
        ({"ours-compiled": -96.9, "torch": -96.9, "pythae": -96.9}, 0.5),
        ({"ours-compiled": -96.9, "torch": -98.3, "pythae": -96.9}, 0.25),
        ({"ours-compiled": -96.9, "torch": -98.3}, None),
        ({"ours-compiled": -98.3, "torch": -96.9}, None),
        ({"ours-compiled": -96.9}, None),
        ({"torch": -96.9}, None),
        ({}, None),
    ],
)
def test_the_bar_of_time_to_bound_needs_ours_and_a_peer_that_got_there(
    reached: dict[str, float], ratio: float | None
) -> None:
    seconds = {"ours-compiled": 9.0, "torch": 19.0, "pythae": 39.0}
    fits = [
        time_to_bound._Fit(name, "ours", race.Result(seconds=1.0), seconds[name], bound=bound)
        for name, bound in reached.items()
    ]
    at_once = time_to_bound._Fit("torch", "its own", race.Result(seconds=0.0), 0.1, bound=0.0)
    assert time_to_bound._bar([*fits, at_once]).reached == ratio


@pytest.mark.parametrize("spread", get_args(Spread))
def test_the_judge_of_time_to_bound_is_the_bound(spread: Spread, tmp_path: Path) -> None:
    """A decoder that ignores z makes the bound exact."""
    job = Job("mlp", latent=3, encoder=(5,), spread=spread, images=str(tmp_path / "x.npz"))
    x = (np.random.default_rng(0).random((1_500, 784)) < 0.5).astype(np.float32)
    np.savez(tmp_path / "x.npz", held_out=x.astype(np.uint8))
    encoder, decoder = initial_weights(job)
    decoder = [(np.zeros_like(weight), bias) for weight, bias in decoder]
    at = torch.from_numpy(x)
    loc, s = networks.encoder(job)(at).chunk(2, dim=-1)
    posterior = Normal(loc, networks.log_scale(s, job).exp())
    kl = kl_divergence(posterior, Normal(torch.zeros(3), 1.0)).sum(-1)
    log_likelihood = Bernoulli(logits=torch.from_numpy(decoder[-1][1])).log_prob(at).sum(-1)
    exact = (log_likelihood - kl).mean().item()
    assert held_out_bound(job, encoder, decoder) == pytest.approx(exact, rel=1e-6)
