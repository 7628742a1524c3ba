"""Laws of importance weights: on probabilistic PCA their mean is the density of the datum."""

import math
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.data import as_split
from ppvae.diagnostics.evidence import importance_sampling
from ppvae.diagnostics.evidence.curve import Curve, bound_curve
from ppvae.diagnostics.evidence.importance_sampling import Weighing
from ppvae.diagnostics.evidence.log_weights import importance_weights
from ppvae.diagnostics.subject import subject
from ppvae.diagnostics.trust.pareto_k import reliability
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs.facts import Audit
from tests.support.pca import pca
from tests.support.weights import weights

SIGMAS = 5.0


def test_with_the_exact_posterior_every_weight_is_the_density() -> None:
    known = pca()
    w = weights(known, 300)
    assert w.dtype == torch.float64
    torch.testing.assert_close(w, known.log_p[:, None].expand(-1, 300))
    curve = bound_curve(w)
    assert curve.counts == (1, 2, 5, 10, 20, 50, 100, 200)
    torch.testing.assert_close(curve.bound, known.log_p.mean().expand(8))
    assert float(curve.monte_carlo_error.max()) < 1e-9
    over_data = known.log_p.std() / math.sqrt(len(known.log_p))
    torch.testing.assert_close(curve.standard_error, over_data.expand(8))
    found = reliability(w)
    assert bool(found.khat.eq(-math.inf).all())
    torch.testing.assert_close(found.ess, torch.full_like(found.ess, 300.0))
    torch.testing.assert_close(found.log_p, known.log_p)
    torch.testing.assert_close(found.smoothed, known.log_p)
    assert found.good == 1.0


def test_a_batch_has_its_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is added to the result, and freed before the next but one is drawn."""
    monkeypatch.setattr(importance_sampling, "CHUNK", 100)
    known, alive, most = pca(rows=20), WeakSet[Tensor](), []
    drawn = Weighing.chunks

    def followed(*args: Any) -> Iterator[Tensor]:
        for chunk in drawn(*args):
            alive.add(chunk)
            most.append(len(alive))
            yield chunk

    monkeypatch.setattr(Weighing, "chunks", followed)
    assert weights(known, 100).isfinite().all()
    assert len(most) > 10
    assert max(most) <= 2


def test_rows_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    w = weights(pca(rotated=True), 200)
    whole = bound_curve(w), reliability(w)
    module = sys.modules[importance_weights.__module__]
    monkeypatch.setattr(module, "CHUNK", 3 * 200)
    curve, tail = bound_curve(w), reliability(w)
    assert isinstance(curve, Curve)
    torch.testing.assert_close(curve.bound, whole[0].bound)
    torch.testing.assert_close(tail.khat, whole[1].khat)
    torch.testing.assert_close(tail.smoothed, whole[1].smoothed)


def test_draws_are_taken_in_chunks_of_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    known = pca(rows=10, widen=1.3)
    module = sys.modules[importance_weights.__module__]
    monkeypatch.setattr(module, "CHUNK", 300 * known.x.numel())
    w = weights(known, 1000)
    ratio = (w - known.log_p[:, None]).exp()
    assert bool(((ratio.mean(1) - 1).abs() < SIGMAS * ratio.std(1) / math.sqrt(1000)).all())
    assert len(w.unique()) == w.numel()


def test_what_are_no_weights_is_refused() -> None:
    w = torch.zeros(3, 100)
    with pytest.raises(InputError, match=r"shape \(100,\); give \(data, samples\)"):
        bound_curve(w[0])
    with pytest.raises(InputError, match=r"shape \(0, 100\)"):
        reliability(w[:0])
    with pytest.raises(InputError, match="counts holds 101, but there are 100"):
        bound_curve(w, (1, 101))
    with pytest.raises(InputError, match="counts holds 0"):
        bound_curve(w, (0,))
    with pytest.raises(
        InputError, match="29 samples per datum; a tail of weights needs at least 30"
    ):
        reliability(w[:, :29])
    broken = w.clone()
    broken[1, 7], broken[2, 3] = math.inf, math.nan
    for question in (bound_curve, reliability):
        with pytest.raises(InputError, match=r"2 of 300 .* first of them inf, of datum 1"):
            question(broken)
    broken = w.clone()
    broken[2] = -math.inf
    with pytest.raises(InputError, match=r"all weights of 1 data are 0, .* of datum 2"):
        reliability(broken)


def test_pairs_without_weights_are_refused() -> None:
    known = pca(rows=5)
    with pytest.raises(InputError, match="samples is 0"):
        weights(known, 0)
    point = subject(
        VAE(StandardNormal(2), Gaussian((4,), variance=1.0)),
        Delta(2, (4,)),
        known.x,
        elbo=Trace_ELBO,
    )
    with pytest.raises(InputError, match="point mass has no density"):
        importance_weights(*point, samples=2)
    shared = Audit(**{**known.facts.__dict__, "is_local": False})
    with pytest.raises(InputError, match="every latent inside the plate"):
        importance_weights(known.pair, shared, known.rows, samples=2)


def test_the_weights_are_a_function_of_the_seed_and_move_nothing() -> None:
    known = pca(rows=25, rotated=True)
    state = torch.get_rng_state()
    seen: list[int] = []
    one = importance_weights(
        known.pair, known.facts, known.rows, samples=3, batch_size=10, on_rows=seen.append
    )
    assert torch.equal(state, torch.get_rng_state())
    assert known.pair.training
    assert all(p.grad is None for p in known.pair.parameters())
    assert seen == [10, 10, 5]
    torch.rand(3)
    two = importance_weights(known.pair, known.facts, known.rows, samples=3, batch_size=10)
    assert torch.equal(one, two)
    other = importance_weights(
        known.pair, known.facts, known.rows, samples=3, batch_size=10, seed=1
    )
    assert not torch.equal(one, other)
    # Each batch has different noise: the weights of equal data differ.
    same = as_split(known.x[:1].expand(20, -1).clone())
    twice = importance_weights(known.pair, known.facts, same, samples=3, batch_size=10)
    assert len(twice.unique()) == twice.numel()


def test_a_looping_program_has_weights_of_the_same_law() -> None:
    known = pca(rows=10, widen=1.3)
    looped = Audit(**{**known.facts.__dict__, "vectorizes": False})
    w = importance_weights(known.pair, looped, known.rows, samples=300)
    ratio = (w - known.log_p[:, None]).exp()
    assert bool(((ratio.mean(1) - 1).abs() < SIGMAS * ratio.std(1) / math.sqrt(300)).all())


def test_two_latents_of_other_names_have_weights() -> None:
    """The mean of x is the sum of the latents, so that x ~ N(0, sum of variances)."""
    network = nn.Linear(1, 3)
    x = torch.randn(30, 1, generator=torch.Generator().manual_seed(5))

    def model(x: Tensor) -> None:
        with pyro.plate("people", len(x)):
            a = pyro.sample("level", dist.Normal(0.0, 1.0))
            b = pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            mean = (a + b.sum(-1))[..., None]
            pyro.sample("height", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        h = 0.2 * network(x)
        with pyro.plate("people", len(x)):
            pyro.sample("level", dist.Normal(h[..., 0], 1.0))
            pyro.sample("slopes", dist.Normal(h[..., 1:], 1.0).to_event(1))

    pair, facts, rows = subject(model, guide, x)
    w = importance_weights(pair, facts, rows, samples=3000, batch_size=7)
    truth = torch.distributions.Normal(0.0, 2.0).log_prob(x[:, 0])
    ratio = (w - truth[:, None]).exp()
    assert bool(((ratio.mean(1) - 1).abs() < SIGMAS * ratio.std(1) / math.sqrt(3000)).all())
