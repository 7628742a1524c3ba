"""Laws of Pareto k, for weights with known tails and moments."""

import math

import pytest
import torch
from torch import Tensor

from ppvae.diagnostics.evidence.curve import bound_curve
from ppvae.diagnostics.trust.pareto_k import Reliability, reliability
from ppvae.errors import InputError
from tests.support.pca import pca
from tests.support.weights import weights

SIGMAS = 5.0


def pareto(k: float, samples: int = 4000, data: int = 20) -> Tensor:
    """Log-weights whose tail has exactly the shape k."""
    generator = torch.Generator().manual_seed(7)
    u = torch.rand(data, samples, generator=generator, dtype=torch.float64)
    return -k * (1 - u).log()


def test_in_single_precision_roundings_are_no_tail() -> None:
    known = pca(columns=8)
    known.pair.float()
    w = weights(known, 400)
    assert w.dtype == torch.float32
    assert float(w.std(1).max()) > 0  # not equal to the last bit
    assert bool(reliability(w).khat.eq(-math.inf).all())


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
    """Only the tail, min(S / 5, 3 sqrt S) draws, is smoothed."""
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
