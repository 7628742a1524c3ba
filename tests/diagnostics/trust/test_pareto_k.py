"""Laws of importance weights: on probabilistic PCA their mean, their moments and their tail."""

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
from ppvae.diagnostics.evidence.curve import Curve, Rise, bound_curve, rise
from ppvae.diagnostics.evidence.importance_sampling import Weighing
from ppvae.diagnostics.evidence.log_weights import importance_weights
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.subject import subject
from ppvae.diagnostics.trust.pareto_k import Reliability, reliability
from ppvae.errors import InputError
from ppvae.guides import Delta
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.programs.facts import Audit
from tests.support.pca import PCA, pca

SIGMAS = 5.0


def weights(known: PCA, samples: int, seed: int = 0) -> Tensor:
    return importance_weights(known.pair, known.facts, known.rows, samples=samples, seed=seed)


def pareto(k: float, samples: int = 4000, data: int = 20) -> Tensor:
    """Log-weights whose tail has the shape k exactly."""
    generator = torch.Generator().manual_seed(7)
    u = torch.rand(data, samples, generator=generator, dtype=torch.float64)
    return -k * (1 - u).log()


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


def test_in_single_precision_roundings_are_no_tail() -> None:
    known = pca(columns=8)
    known.pair.float()
    w = weights(known, 400)
    assert w.dtype == torch.float32
    assert float(w.std(1).max()) > 0  # not equal to the last bit
    assert bool(reliability(w).khat.eq(-math.inf).all())


def test_the_curve_rises_from_the_elbo_and_is_unbiased_at_each_count() -> None:
    known = pca(rotated=True, widen=1.4)
    scale = 1.4 / known.precision.diagonal().sqrt()
    elbo = float((known.log_p - known.kl(known.posterior_loc, scale)).mean())
    log_p = float(known.log_p.mean())
    curve = bound_curve(weights(known, 2000))
    error = curve.monte_carlo_error
    assert abs(float(curve.bound[0]) - elbo) < SIGMAS * float(error[0])
    assert float(error[0]) < 0.01
    assert curve.bound.tolist() == sorted(curve.bound.tolist())
    assert bool((curve.bound < log_p + SIGMAS * error).all())
    assert elbo < log_p - 0.3
    assert abs(float(curve.bound[-1]) - log_p) < 0.05 * (log_p - elbo)
    # Unbiased: K draws a datum and no more, by other seeds, have the same mean.
    for count in (2, 5):
        whole = curve.counts.index(count)
        means = torch.tensor(
            [float(bound_curve(weights(known, count, s), [count]).bound) for s in range(1, 60)]
        )
        apart = float(means.mean()) - float(curve.bound[whole])
        assert abs(apart) < SIGMAS * float(means.std()) / math.sqrt(len(means))


def test_the_monte_carlo_error_is_the_scatter_over_seeds() -> None:
    known = pca(rows=20, rotated=True)
    curves = [bound_curve(weights(known, 100, s), (1, 10, 100)) for s in range(60)]
    scatter = torch.stack([curve.bound for curve in curves]).std(0)
    stated = torch.stack([curve.monte_carlo_error for curve in curves]).square().mean(0).sqrt()
    # A standard deviation of 60 is known to 9 %; the last is the delta method's.
    assert bool(((stated / scatter - 1).abs() < 0.35).all())


def test_few_samples_of_all_data_and_more_of_some_are_more_of_all() -> None:
    """The rise within each datum is surer than the bounds it lies between, and adds up to them."""
    known = pca(rows=200, rotated=True, widen=1.4)
    w = weights(known, 1000)
    curve = bound_curve(w, (20, 1000))
    found = rise(w, 20, 1000)
    assert (found.samples, len(found.gain)) == (1000, 200)
    torch.testing.assert_close(found.bound, w.double().logsumexp(1) - math.log(1000))
    assert found.mean == pytest.approx(float(curve.bound[1] - curve.bound[0]))
    assert found.standard_error < float(curve.standard_error[0]) / 10
    # Of a fifth of the data, it is the rise of all within its error.
    some = rise(w[:40], 20, 1000)
    assert abs(some.mean - found.mean) < SIGMAS * some.standard_error
    assert some.standard_error > found.standard_error
    assert rise(w, 50, 50).mean == 0
    with pytest.raises(InputError, match="counts holds 1001, and there are 1000 samples"):
        rise(w, 20, 1001)


def test_a_batch_has_its_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk goes into the answer, and is given up before the next but one is drawn."""
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


def test_a_rise_of_the_same_data_is_added_datum_by_datum() -> None:
    lower, gain = torch.randn(2, 30, generator=torch.Generator().manual_seed(0)).double()
    gain = gain - lower / 2  # what lies low gains much: the errors are not independent
    summed, found = Estimate.of(lower + gain), Rise(50, lower + gain, gain).added_to(lower)
    assert found.mean == pytest.approx(summed.mean)
    assert found.standard_error == pytest.approx(summed.standard_error)
    assert math.isnan(Rise(50, lower[:1], gain[:1]).added_to(lower).standard_error)


def test_the_error_of_a_sum_is_its_scatter_where_a_part_of_the_data_is_shared() -> None:
    """A third of the data have a gain, which is the larger the lower the bound."""
    noise = torch.randn(2, 4000, 60, generator=torch.Generator().manual_seed(1)).double()
    lower = noise[0]
    gain = (0.5 * noise[1] - lower)[:, :20]
    sums = [Rise(50, g, g).added_to(b) for b, g in zip(lower, gain, strict=True)]
    scatter = float(torch.tensor([each.mean for each in sums]).std())
    stated = float(torch.tensor([each.standard_error for each in sums]).square().mean().sqrt())
    assert stated == pytest.approx(scatter, rel=0.06)
    apart = math.hypot(Estimate.of(lower[0]).standard_error, Estimate.of(gain[0]).standard_error)
    assert apart > 1.1 * scatter


def test_a_datum_whose_weights_are_all_0_gains_nothing() -> None:
    w = torch.zeros(3, 40)
    w[0], w[1, :20] = -math.inf, -math.inf
    found = rise(w, 10, 40)
    assert found.gain.tolist() == [0, 0, 0]
    assert found.added_to(torch.tensor([-math.inf, -1.0, -1.0])).mean == -math.inf


def test_draws_that_fill_no_group_are_left_out() -> None:
    generator = torch.Generator().manual_seed(2)
    w = torch.randn(3, 11, generator=generator, dtype=torch.float64)
    curve = bound_curve(w, (1, 4, 11))
    groups = w[:, :8].reshape(3, 2, 4).exp().mean(-1).log()
    want = torch.stack([w.mean(), groups.mean(), w.exp().mean(-1).log().mean()])
    torch.testing.assert_close(curve.bound, want)
    torch.testing.assert_close(curve.monte_carlo_error[1], (groups.var(1) / 2).sum().sqrt() / 3)
    assert math.isnan(float(bound_curve(w[:1]).standard_error[0]))


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


def test_the_effective_sample_size_of_a_wide_guide() -> None:
    """With q = N(m, s^2 v) for p = N(m, v): E w^2 / (E w)^2 = s^2 / sqrt(2 s^2 - 1), each way."""
    known = pca(rows=30, widen=1.5)
    found = reliability(weights(known, 4000))
    share = math.sqrt(2 * 1.5**2 - 1) / 1.5**2
    ratio = found.ess / 4000 / share**2
    # Its relative error, by the delta method, is below 2 % a datum.
    assert bool(((ratio - 1).abs() < 0.1).all())
    assert abs(float(ratio.mean()) - 1) < 0.02
    assert found.good == 1.0
    assert float(found.khat.max()) < 0


def test_khat_of_a_narrow_guide_is_one_minus_its_relative_variance() -> None:
    """Weights of q = N(m, s^2 v), s < 1, have P(w > t) ~ t^(-1 / (1 - s^2)), to a logarithm."""
    narrow = {s: reliability(weights(pca(rows=60, widen=s), 2000)) for s in (0.4, 0.6)}
    for s, found in narrow.items():
        error = float(found.khat.std()) / math.sqrt(60)
        assert abs(float(found.khat.mean()) - (1 - s**2)) < SIGMAS * error + 0.06
    wide = reliability(weights(pca(rows=60, widen=1.5), 2000))
    assert float(wide.khat.max()) < float(narrow[0.6].khat.min())
    assert float(narrow[0.6].khat.mean()) < float(narrow[0.4].khat.mean())
    assert narrow[0.4].good < 0.25
    assert wide.good == 1.0


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_khat_and_the_smoothed_mean_of_a_pareto_distribution(k: float) -> None:
    found = reliability(pareto(k))
    error = float(found.khat.std()) / math.sqrt(len(found.khat))
    assert abs(float(found.khat.mean()) - k) < SIGMAS * error + 0.02
    truth = -math.log(1 - k)  # the mean is 1 / (1 - k)
    if k < 0.6:
        torch.testing.assert_close(
            found.smoothed, torch.full_like(found.khat, truth), atol=0.15, rtol=0
        )
    else:
        smoothed, raw = (found.smoothed - truth).square(), (found.log_p - truth).square()
        assert float(smoothed.median()) < float(raw.max())
        assert float(found.smoothed.std()) < float(found.log_p.std())


def test_smoothing_leaves_all_but_the_tail() -> None:
    """The tail, min(S / 5, 3 sqrt S) draws, is all that the smoothed mean adds anew."""
    w = pareto(0.5, samples=400, data=5)
    found = reliability(w)
    body = w.sort(1).values[:, : 400 - 60].exp().sum(1)
    tail = found.smoothed.exp() * 400 - body
    assert bool((tail > 0).all())
    assert bool((tail < 60 * w.amax(1).exp()).all())
    shifted = reliability(w - 1234.0)
    torch.testing.assert_close(shifted.smoothed, found.smoothed - 1234.0, atol=1e-8, rtol=0)
    torch.testing.assert_close(shifted.khat, found.khat, atol=1e-6, rtol=0)


def test_the_threshold_grows_with_the_samples_to_seven_tenths() -> None:
    for samples, threshold in ((100, 0.5), (1000, 2 / 3), (10**4, 0.7)):
        one = torch.zeros(1)
        found = Reliability(one, one, one, one, samples)
        assert found.threshold == pytest.approx(threshold)


def test_good_and_worst_data() -> None:
    khat = torch.tensor([0.1, math.nan, -math.inf, 0.66, 0.9, math.inf, 0.67], dtype=torch.float64)
    ess = torch.tensor([900.0, 1.0, 1000.0, 50.0, 10.0, 2.0, 40.0], dtype=torch.float64)
    found = Reliability(khat, ess, ess.log(), ess.log(), 1000)
    assert found.good == pytest.approx(3 / 7)
    assert found.worst(7).tolist() == [1, 5, 4, 6, 3, 0, 2]
    assert found.worst(2).tolist() == [1, 5]
    assert len(found.worst(100)) == 7
    with pytest.raises(InputError, match="n is 0"):
        found.worst(0)


def test_weights_that_no_number_can_hold_have_the_worst_khat() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20, 1000, generator=generator)
    by_spread = [reliability(noise * spread) for spread in (3.0, 30.0, 300.0, 3e4)]
    lowest = [float(found.khat.min()) for found in by_spread]
    assert lowest == sorted(lowest)
    assert lowest[-1] == math.inf
    assert bool(by_spread[-1].ess.eq(1).all())
    torch.testing.assert_close(by_spread[-1].smoothed, by_spread[-1].log_p)


def test_ties_and_weights_of_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(4, 1000, generator=generator)
    two = reliability((u < 0.3).float())  # bounded, and the bound is met
    assert bool(two.khat.eq(-math.inf).all())
    torch.testing.assert_close(two.smoothed, two.log_p)
    three = reliability((u < 0.05).float() + (u < 0.02).float())
    assert bool(three.khat.isnan().all())
    assert three.good == 0.0
    torch.testing.assert_close(three.smoothed, three.log_p)
    half = pareto(0.3, samples=2000, data=10)
    half[:, ::2] = -math.inf
    found = reliability(half)
    assert bool(found.khat.isfinite().all())
    torch.testing.assert_close(found.log_p, half.exp().mean(1).log())
    curve = bound_curve(half, (1, 500))
    assert float(curve.bound[0]) == -math.inf
    assert math.isfinite(float(curve.bound[1]))


def test_what_are_no_weights_is_refused() -> None:
    w = torch.zeros(3, 100)
    with pytest.raises(InputError, match=r"shape \(100,\); give \(data, samples\)"):
        bound_curve(w[0])
    with pytest.raises(InputError, match=r"shape \(0, 100\)"):
        reliability(w[:0])
    with pytest.raises(InputError, match="counts holds 101, and there are 100"):
        bound_curve(w, (1, 101))
    with pytest.raises(InputError, match="counts holds 0"):
        bound_curve(w, (0,))
    with pytest.raises(InputError, match="29 samples a datum; a tail of weights needs at least 30"):
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
        VAE(StandardNormal(2), Gaussian((4,))), Delta(2, (4,)), known.x, elbo=Trace_ELBO
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
    # Each batch has noise of its own: of equal data, the weights differ.
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
