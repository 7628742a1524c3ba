"""Laws of an estimator's noise: equal means, known variances, unchanged weights."""

import math

import numpy as np
import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.diagnostics.estimator.noise import noise, repeated
from ppvae.diagnostics.shared.moments import Moments
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import MLP, Shape
from ppvae.programs import Pair
from tests.support.slow import few

C, D, K, ROWS = 0.3, 5, 2, 24  # variance of x given z, dimensions of x and z, data


def affine(in_shape: Shape, out_shape: Shape) -> MLP:
    return MLP(in_shape, out_shape, hidden=[])


def weights_of(network: object) -> tuple[Tensor, Tensor]:
    assert isinstance(network, MLP)
    layer = network.layers[0]
    assert isinstance(layer, torch.nn.Linear)
    return layer.weight.data, layer.bias.data


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return {"x": torch.randn(ROWS, D, generator=torch.Generator().manual_seed(3))}


@pytest.fixture
def programs() -> tuple[VAE, MeanField]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(StandardNormal(K), Gaussian((D,), variance=C), affine)
        return model, MeanField(K, (D,), affine)


def bound_of(
    programs: tuple[VAE, MeanField], batch: dict[str, Tensor], elbo: type[ELBO], particles: int = 1
) -> Bound:
    pair = Pair(*programs, batch)
    return Bound(pair, elbo, audit(pair, elbo, batch), particles)


def posterior_of(guide: MeanField, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        loc, log_scale = guide.encoder(x).unbind(-2)
        return loc, posterior_scale(log_scale)


@pytest.mark.slow
def test_both_means_are_the_closed_form_bound(
    programs: tuple[VAE, MeanField], batch: dict[str, Tensor]
) -> None:
    model, guide = programs
    x, (w, b) = batch["x"], weights_of(model.decoder)
    loc, scale = posterior_of(guide, x)
    square = (x - loc @ w.T - b).square() + scale.square() @ w.square().T
    reconstruction = (-0.5 * math.log(2 * math.pi * C) - square / (2 * C)).sum(-1)
    kl = 0.5 * (loc.square() + scale.square() - 2 * scale.log() - 1).sum(-1)
    exact = float((reconstruction - kl).mean())

    found = [
        noise(bound_of(programs, batch, elbo), batch, draws=200, seed=seed)
        for seed, elbo in enumerate((Trace_ELBO, TraceMeanField_ELBO))
    ]
    for each in found:
        assert 0 < each.standard_error < 0.02 * abs(exact)
        assert abs(each.mean - exact) < 4 * each.standard_error
    apart = math.hypot(*(each.standard_error for each in found))
    assert abs(found[0].mean - found[1].mean) < 4 * apart


@pytest.mark.parametrize("elbo", few([Trace_ELBO, TraceMeanField_ELBO], 2))
def test_gradient_of_the_decoders_bias_has_its_closed_form_mean_and_variance(
    programs: tuple[VAE, MeanField], batch: dict[str, Tensor], elbo: type[ELBO]
) -> None:
    """The gradient is the mean over data of (x - W z - b) / c, and z is normal."""
    model, guide = programs
    w, b = weights_of(model.decoder)
    loc, scale = posterior_of(guide, batch["x"])
    variance = float((scale.square() @ w.square().T).sum()) / (ROWS * C) ** 2
    mean = (batch["x"] - loc @ w.T - b).mean(0) / C

    name = "model.decoder.layers.0.bias"
    found = noise(bound_of(programs, batch, elbo), batch, draws=200, grouping=str).groups[name]
    assert found.coordinates == D
    assert abs(found.variance - variance) < 5 * found.variance_error
    assert found.variance_error < 0.25 * variance
    expected = float(mean.norm()) / math.sqrt(variance)
    assert found.snr == pytest.approx(expected, rel=0.15)


def test_at_the_exact_posterior_every_estimate_is_log_p(batch: dict[str, Tensor]) -> None:
    model = VAE(StandardNormal(K), Gaussian((D,), variance=C), affine)
    guide = MeanField(K, (D,), affine)
    w, b = weights_of(model.decoder)
    w.copy_(torch.eye(D)[:, :K] * torch.tensor([1.5, 0.7]))  # orthogonal: the posterior factorizes
    variance = 1 / (w.square().sum(0) / C + 1)
    to_loc = variance[:, None] * w.T / C
    encode, start = weights_of(guide.encoder)
    encode.copy_(torch.cat([to_loc, torch.zeros(K, D)]))
    start.copy_(torch.cat([-to_loc @ b, 10 * (0.5 * variance.log() / 10).atanh()]))
    p = torch.distributions.MultivariateNormal(b, w @ w.T + C * torch.eye(D))
    log_p = float(p.log_prob(batch["x"]).mean())

    sampled, analytic = (
        noise(bound_of((model, guide), batch, elbo), batch, draws=40)
        for elbo in (Trace_ELBO, TraceMeanField_ELBO)
    )
    torch.testing.assert_close(
        sampled.values, torch.full((40,), log_p, dtype=torch.float64), rtol=0, atol=1e-4
    )
    assert abs(analytic.mean - log_p) < 4 * analytic.standard_error
    # No score term, but a noisy value: the analytic bound is not "better".
    assert float(analytic.values.std()) > 100 * float(sampled.values.std())


def test_signal_to_noise_rises_as_the_root_of_particles(
    programs: tuple[VAE, MeanField], batch: dict[str, Tensor]
) -> None:
    one, many = (
        noise(bound_of(programs, batch, TraceMeanField_ELBO, particles), batch, draws=120).groups
        for particles in (1, 16)
    )
    for group in one:
        assert many[group].snr / one[group].snr == pytest.approx(4, rel=0.2)


def test_streamed_moments_are_those_of_the_stored_gradients(
    programs: tuple[VAE, MeanField], batch: dict[str, Tensor]
) -> None:
    bound = bound_of(programs, batch, Trace_ELBO)
    stored = [gradient for _, gradient in repeated(bound, batch, draws=23, seed=5)]
    whole, first, second = Moments(), Moments(), Moments()
    for i, gradient in enumerate(stored):
        whole.add(gradient)
        (first if i < 9 else second).add(gradient)
    first.merge(second)
    first.merge(Moments())
    groups = noise(bound, batch, draws=23, seed=5).groups
    totals = dict.fromkeys(groups, 0.0)
    for name in stored[0]:
        array = np.stack([gradient[name].double().numpy() for gradient in stored])
        for streamed in (whole, first):
            np.testing.assert_allclose(streamed.mean[name], array.mean(0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                streamed.variance[name], array.var(0, ddof=1), rtol=1e-4, atol=1e-6
            )
        totals[".".join(name.split(".")[:2])] += float(array.var(0, ddof=1).sum())
    for name, group in groups.items():
        assert group.variance == pytest.approx(totals[name], rel=1e-4)


def test_measuring_moves_nothing(programs: tuple[VAE, MeanField], batch: dict[str, Tensor]) -> None:
    bound = bound_of(programs, batch, Trace_ELBO)
    bound.train()
    before = {name: value.clone() for name, value in bound.state_dict().items()}
    state = torch.get_rng_state()
    first = noise(bound, batch, draws=6, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in bound.state_dict().items())
    assert all(p.grad is None for p in bound.parameters())
    assert bound.training
    torch.rand(3)
    again = noise(bound, batch, draws=6, seed=1)
    assert torch.equal(first.values, again.values)
    with pytest.raises(InputError, match="`draws` is 3"):
        noise(bound, batch, draws=3)
