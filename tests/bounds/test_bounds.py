"""Laws of the bounds, on a linear-Gaussian program with closed forms."""

import math
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae import data
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.diagnostics import log_evidence
from ppvae.guides import Delta, MeanField
from ppvae.guides.scales import posterior_scale
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from ppvae.training.evaluation import evaluate
from tests.support.bounds import LINEAR
from tests.support.gaussian_chain import SIGMAS, sample
from tests.support.pca import affine
from tests.support.slow import few

AFFINE = partial(MLP, hidden=())
ROWS, COLUMNS, LATENT, VARIANCE = 12, 3, 2, 0.5


class ClosedForm(NamedTuple):
    reconstruction: Tensor
    kl: Tensor


def rows(n: int = ROWS, columns: int = COLUMNS) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 1.5 * torch.randn(n, columns, generator=generator, dtype=torch.float64) + 0.5


def vae(latent: int = LATENT, columns: int = COLUMNS) -> VAE:
    torch.manual_seed(11)
    return VAE(StandardNormal(latent), Gaussian((columns,), variance=VARIANCE), AFFINE).double()


def linear_pair() -> Pair:
    model = vae()
    guide = MeanField(LATENT, (COLUMNS,), AFFINE).double()
    with torch.no_grad():
        affine(guide.encoder).weight.mul_(0.4)  # a narrow guide, for less noise
    return Pair(model, guide, {"x": rows()})


def closed_form(pair: Pair, x: Tensor) -> ClosedForm:
    """E_q log N(x; Wz + b, cI) and KL(q || N(0, I)), summed over rows, by hand.

    With z = m + s eps: E ||x - Wz - b||^2 = ||x - Wm - b||^2 + sum_k s_k^2 ||W_k||^2.
    """
    assert isinstance(pair.model, VAE)
    assert isinstance(pair.guide, MeanField)
    encoder, decoder = affine(pair.guide.encoder), affine(pair.model.decoder)
    loc, raw = (x @ encoder.weight.T + encoder.bias).chunk(2, dim=-1)
    log_scale = posterior_scale(raw).log()
    variance = torch.exp(2 * log_scale)
    residual = x - loc @ decoder.weight.T - decoder.bias
    square = residual.square().sum() + (variance @ decoder.weight.square().sum(0)).sum()
    c = VARIANCE
    reconstruction = -0.5 * x.numel() * math.log(2 * math.pi * c) - square / (2 * c)
    kl = 0.5 * (loc.square() + variance - 1 - 2 * log_scale).sum()
    return ClosedForm(reconstruction, kl)


def bound_of(pair: Pair, elbo: type[ELBO], x: Tensor, particles: int = 1) -> Bound:
    return Bound(pair, elbo, audit(pair, elbo, {"x": x}), particles)


def gradient(objective: Tensor, pair: Pair) -> Tensor:
    grads = torch.autograd.grad(objective, list(pair.parameters()))
    return torch.cat([g.flatten() for g in grads])


def exact_posterior() -> tuple[Pair, Tensor]:
    """A pair with one latent whose guide is p(z | x), and log p(x) of `rows`, ``(rows,)``."""
    model, guide = vae(1), MeanField(1, (COLUMNS,), AFFINE).double()
    decoder, encoder = affine(model.decoder), affine(guide.encoder)
    w, b = decoder.weight[:, 0].detach(), decoder.bias.detach()
    variance = 1 / (1 + w @ w / VARIANCE)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[0] = variance * w / VARIANCE
        encoder.bias[0] = -variance * (w @ b) / VARIANCE
        encoder.bias[1] = 10 * torch.atanh(0.5 * variance.log() / 10)
    x = rows()
    marginal = torch.distributions.MultivariateNormal(
        b, torch.outer(w, w) + VARIANCE * torch.eye(COLUMNS, dtype=torch.float64)
    )
    return Pair(model, guide, {"x": x}), marginal.log_prob(x)


@pytest.mark.parametrize("elbo", few(LINEAR, 3))
@pytest.mark.parametrize("beta", few([0.3, 0.0, 1.0, 4.0], 4))
def test_terms_and_gradient_are_those_of_the_closed_form(elbo: type[ELBO], beta: float) -> None:
    pair, x = linear_pair(), rows()
    bound = bound_of(pair, elbo, x)
    truth = closed_form(pair, x)
    objective = truth.reconstruction - beta * truth.kl
    slope = gradient(objective, pair)

    def draw() -> Tensor:
        terms = bound({"x": x}, beta)
        figures = torch.stack([terms.objective, terms.reconstruction, terms.kl]).detach()
        return torch.cat([figures, gradient(terms.objective, pair)])

    got = sample(draw, 250)
    figures = torch.stack([objective, truth.reconstruction, truth.kl]).detach()
    assert got.holds(torch.cat([figures, slope]))
    # The errors are small enough for the test to be meaningful.
    assert bool((got.error[:3] < 0.05 * figures.abs()).all())
    assert float(got.error[3:].norm()) < 0.1 * float(slope.norm())


def test_the_analytic_kl_has_no_noise_and_the_other_has() -> None:
    pair, x = linear_pair(), rows()
    truth = closed_form(pair, x).kl.detach()
    for beta in (0.0, 1.0, 4.0):
        terms = bound_of(pair, TraceMeanField_ELBO, x)({"x": x}, beta)
        torch.testing.assert_close(terms.kl, truth, rtol=1e-12, atol=0)
    drawn = bound_of(pair, Trace_ELBO, x)({"x": x})
    assert abs(float(drawn.kl - truth)) > 1e-3


@pytest.mark.parametrize("elbo", LINEAR)
def test_terms_do_not_depend_on_beta_for_the_same_noise(elbo: type[ELBO]) -> None:
    pair, x = linear_pair(), rows()
    bound = bound_of(pair, elbo, x)

    def terms(beta: float) -> Any:
        torch.manual_seed(3)
        return bound({"x": x}, beta)

    _, _, reconstruction, kl = terms(1.0)
    for beta in (0.0, 0.3, 4.0):
        objective, _, r, k = terms(beta)
        torch.testing.assert_close(r, reconstruction, rtol=1e-10, atol=0)
        torch.testing.assert_close(k, kl, rtol=1e-10, atol=0)
        torch.testing.assert_close(objective, r - beta * k, rtol=1e-10, atol=0)


@pytest.mark.parametrize("elbo", LINEAR)
@pytest.mark.parametrize("particles", [1, 7])
def test_the_bound_is_the_one_that_pyro_computes(elbo: type[ELBO], particles: int) -> None:
    pair, x = linear_pair(), rows()
    torch.manual_seed(5)
    objective, _, reconstruction, kl = bound_of(pair, elbo, x, particles)({"x": x})
    torch.manual_seed(5)
    theirs = cast("Any", elbo)(
        num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1
    ).loss(pair.call_model, pair.call_guide, x=x)
    assert float(objective.detach()) == pytest.approx(-theirs, rel=1e-12)
    assert float((reconstruction - kl).detach()) == pytest.approx(-theirs, rel=1e-12)


@pytest.mark.parametrize("elbo", few(LINEAR, 3))
def test_particles_are_unbiased_and_divide_the_variance(elbo: type[ELBO]) -> None:
    pair, x = linear_pair(), rows()
    truth = closed_form(pair, x)
    single, many = bound_of(pair, elbo, x), bound_of(pair, elbo, x, 7)
    n = 300
    one = sample(lambda: torch.stack(single({"x": x})[1:3]).detach(), n)
    seven = sample(lambda: torch.stack(many({"x": x})[1:3]).detach(), n, seed=1)
    elbo_value = truth.reconstruction - truth.kl
    assert seven.holds(torch.stack([elbo_value, truth.reconstruction]).detach())
    # log of a ratio of two sample variances: standard error sqrt(2 * 2 / n) for normal draws;
    # squares of normals have heavier tails, hence twice that.
    ratio = (one.error / seven.error).square()
    assert bool(((ratio / 7).log().abs() < SIGMAS * 2 * math.sqrt(4 / n)).all())
    assert bool((ratio > 3).all())


@pytest.mark.parametrize("particles", [1, 7])
def test_with_the_exact_posterior_the_bound_is_the_evidence_without_noise(particles: int) -> None:
    pair, evidence = exact_posterior()
    x = rows()
    bound = bound_of(pair, Trace_ELBO, x, particles)
    for seed in range(3):
        torch.manual_seed(seed)
        objective = bound({"x": x}).objective
        torch.testing.assert_close(objective, evidence.sum(), rtol=1e-10, atol=0)
    # The analytic bound has it in the mean only, as its terms do not cancel draw by draw.
    analytic = bound_of(pair, TraceMeanField_ELBO, x, particles)
    got = sample(lambda: analytic({"x": x}).objective.detach(), 200)
    assert got.holds(evidence.sum())
    assert float(got.error) > 1e-6


@pytest.mark.parametrize("samples", [1, 50])
def test_with_the_exact_posterior_importance_sampling_is_exact(samples: int) -> None:
    pair, _ = exact_posterior()
    split = data.from_arrays(rows(30).numpy()).train
    x = torch.cat([b["x"] for b in split.chunks(512)]).double()
    w = affine(pair.get_submodule("model.decoder"))
    marginal = torch.distributions.MultivariateNormal(
        w.bias, w.weight @ w.weight.T + VARIANCE * torch.eye(COLUMNS, dtype=torch.float64)
    )
    facts = audit(pair, Trace_ELBO, {"x": x})
    found = log_evidence(pair, facts, split, samples=samples)
    torch.testing.assert_close(
        found.log_p.double(), marginal.log_prob(x).detach(), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(found.elbo, found.log_p, rtol=1e-5, atol=0)
    if samples == 1:  # the spread of weights needs more than one
        assert bool(found.error.isnan().all())
    else:
        assert float(found.error.max()) < 1e-3


def _figures(bound: Bound, x: Tensor, beta: float) -> Tensor:
    return torch.stack(bound({"x": x}, beta)).detach()


@pytest.mark.slow
def test_a_subsampled_plate_gives_the_same_figures_per_datum() -> None:
    pair, evidence = exact_posterior()
    model, guide = pair.model, pair.guide
    assert isinstance(model, VAE)
    assert isinstance(guide, MeanField)
    decoder, encoder = model.decoder, guide.encoder
    total = 1000

    def p(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", total, subsample_size=len(x)):
            z = pyro.sample("z", model.prior())
            pyro.sample("x", model.likelihood(decoder(z)), obs=x)

    def q(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", total, subsample_size=len(x)):
            loc, raw = encoder(x).unbind(-2)
            scale = posterior_scale(raw)
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    x = rows()
    subsampled = Pair(p, q, {"x": x})
    for elbo in LINEAR:
        facts = audit(subsampled, elbo, {"x": x})
        assert (facts.data_size, facts.notes) == (total, ())
        assert [site.scale for site in facts.sites] == pytest.approx([total / ROWS] * 2)
        truth = closed_form(pair, x)
        bound = Bound(subsampled, elbo, facts)
        for beta in (0.0, 1.0, 4.0):
            got = sample(partial(_figures, bound, x, beta), 100)
            objective = truth.reconstruction - beta * truth.kl
            assert got.holds(torch.stack([objective, truth[0] - truth[1], *truth]).detach())
    exact = Bound(subsampled, Trace_ELBO, audit(subsampled, Trace_ELBO, {"x": x}))({"x": x})
    torch.testing.assert_close(exact.objective, evidence.sum(), rtol=1e-10, atol=0)
    split = data.from_arrays(rows(30).numpy()).train
    found = log_evidence(subsampled, audit(subsampled, Trace_ELBO, {"x": x}), split, samples=3)
    alone = log_evidence(pair, audit(pair, Trace_ELBO, {"x": x}), split, samples=3)
    torch.testing.assert_close(found.log_p, alone.log_p, rtol=1e-5, atol=0)


@pytest.mark.parametrize("elbo", LINEAR)
def test_evaluate_gives_the_closed_form_per_datum_whatever_the_batch(elbo: type[ELBO]) -> None:
    pair = linear_pair()
    split = data.from_arrays(rows(100).numpy()).train
    x = torch.cat([b["x"] for b in split.chunks(512)]).double()
    truth = closed_form(pair, x)
    bound = bound_of(pair, elbo, x)
    values = [
        evaluate(bound, split, batch_size=32, draws=10, seed=seed, beta=2.0) for seed in range(20)
    ]
    want = (truth.reconstruction - 2 * truth.kl).item() / len(x)
    got = np.array([value.objective for value in values])
    assert abs(got.mean() - want) < SIGMAS * got.std(ddof=1) / math.sqrt(len(got))
    assert got.std() < 0.05 * abs(want)
    assert evaluate(bound, split, draws=2, seed=4) == evaluate(bound, split, draws=2, seed=4)


class LearnedNormal(StandardNormal):
    """N(m, I) with m to learn."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.mean = nn.Parameter(torch.full((latent_dim,), 0.7))

    def forward(self) -> dist.TorchDistribution:
        fn: dist.TorchDistribution = dist.Normal(self.mean, self.scale).to_event(1)
        return fn


@pytest.mark.parametrize("elbo", LINEAR)
@pytest.mark.parametrize("is_point", [False, True])
def test_at_beta_zero_no_gradient_reaches_the_prior(elbo: type[ELBO], is_point: bool) -> None:
    torch.manual_seed(0)
    prior = LearnedNormal(LATENT)
    model = VAE(prior, Gaussian((COLUMNS,), variance=VARIANCE), AFFINE)
    guide = (Delta if is_point else MeanField)(LATENT, (COLUMNS,), AFFINE)
    x = rows().float()
    pair = Pair(model, guide, {"x": x})
    bound = bound_of(pair, elbo, x)
    for beta, is_zero in ((0.0, True), (0.5, False)):
        pair.zero_grad()
        bound({"x": x}, beta).objective.backward()
        assert prior.mean.grad is not None
        assert bool(prior.mean.grad.eq(0).all()) is is_zero
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in pair.parameters())


def autoencoder(x: Tensor, elbo: type[ELBO]) -> tuple[Pair, Bound]:
    model = vae()
    torch.manual_seed(1)
    pair = Pair(model, Delta(LATENT, tuple(x.shape[1:]), AFFINE).double(), {"x": x})
    return pair, bound_of(pair, elbo, x)


@pytest.mark.parametrize("elbo", LINEAR)
def test_a_point_mass_at_beta_zero_is_squared_error(elbo: type[ELBO]) -> None:
    x = rows()
    pair, bound = autoencoder(x, elbo)
    assert not bound.audit.is_bound
    assert isinstance(pair.guide, Delta)
    assert isinstance(pair.model, VAE)
    loc = pair.guide.encoder(x)
    square = (x - pair.model.decoder(loc).squeeze(-2)).square().sum()
    want = -square / (2 * VARIANCE) - 0.5 * x.numel() * math.log(2 * math.pi * VARIANCE)
    terms = bound({"x": x}, 0.0)
    torch.testing.assert_close(terms.objective, want, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(terms.objective, pair), gradient(want, pair))
    # At beta = 1: log p(x | z) + log p(z), the code of largest posterior density.
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(loc).sum()
    want = want.detach() + prior
    torch.testing.assert_close(bound({"x": x}, 1.0).objective, want, rtol=1e-12, atol=0)


def test_the_affine_autoencoder_finds_the_principal_components() -> None:
    torch.manual_seed(2)
    mixing = torch.randn(COLUMNS, COLUMNS, dtype=torch.float64)
    x = rows(80) @ mixing
    pair, bound = autoencoder(x, TraceMeanField_ELBO)
    least = torch.linalg.svdvals(x - x.mean(0))[LATENT:].square().sum()
    optimizer = torch.optim.LBFGS(pair.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = -bound({"x": x}, 0.0).objective
        value.backward()
        return value

    constant = 0.5 * x.numel() * math.log(2 * math.pi * VARIANCE)
    before = 2 * VARIANCE * (float(loss().detach()) - constant)
    optimizer.step(loss)
    after = 2 * VARIANCE * (float(loss().detach()) - constant)
    assert before > 2 * float(least)
    assert float(least) * (1 - 1e-9) <= after < 1.02 * float(least)
