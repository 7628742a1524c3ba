"""Laws of the bound by K: it rises from the ELBO to log p(x), within its errors."""

import math

import pytest
import torch

from ppvae.diagnostics.evidence.curve import Rise, bound_curve, rise
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.errors import InputError
from tests.support.pca import pca
from tests.support.weights import weights

SIGMAS = 5.0


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
    # Unbiased: with K draws per datum and other seeds, the mean is the same.
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
    # A standard deviation from 60 values has an error of 9 %; the last is by the delta method.
    assert bool(((stated / scatter - 1).abs() < 0.35).all())


def test_few_samples_of_all_data_and_more_of_some_are_more_of_all() -> None:
    """Gains paired by datum have smaller errors than the bounds, and add up to them."""
    known = pca(rows=200, rotated=True, widen=1.4)
    w = weights(known, 1000)
    curve = bound_curve(w, (20, 1000))
    found = rise(w, 20, 1000)
    assert (found.samples, len(found.gain)) == (1000, 200)
    torch.testing.assert_close(found.bound, w.double().logsumexp(1) - math.log(1000))
    assert found.mean == pytest.approx(float(curve.bound[1] - curve.bound[0]))
    assert found.standard_error < float(curve.standard_error[0]) / 10
    # The gain on a fifth of the data is that on all, within its error.
    some = rise(w[:40], 20, 1000)
    assert abs(some.mean - found.mean) < SIGMAS * some.standard_error
    assert some.standard_error > found.standard_error
    assert rise(w, 50, 50).mean == 0
    with pytest.raises(InputError, match="counts holds 1001, but there are 1000 samples"):
        rise(w, 20, 1001)


def test_a_rise_of_the_same_data_is_added_datum_by_datum() -> None:
    lower, gain = torch.randn(2, 30, generator=torch.Generator().manual_seed(0)).double()
    gain = gain - lower / 2  # low bounds gain more: the errors are dependent
    summed, found = Estimate.of(lower + gain), Rise(50, lower + gain, gain).added_to(lower)
    assert found.mean == pytest.approx(summed.mean)
    assert found.standard_error == pytest.approx(summed.standard_error)
    assert math.isnan(Rise(50, lower[:1], gain[:1]).added_to(lower).standard_error)


def test_the_error_of_a_sum_is_its_scatter_where_a_part_of_the_data_is_shared() -> None:
    """A third of the data have a gain, which is larger for lower bounds."""
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
