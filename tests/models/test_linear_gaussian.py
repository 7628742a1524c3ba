"""Probabilistic PCA: of `LinearGaussian` every figure is known, and all estimates must meet it."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import stats
from torch import Tensor, nn

from ppvae.bounds import (
    DoublyReparameterizedELBO,
    ImportanceWeightedELBO,
    RenyiELBO,
    StickingTheLandingELBO,
)
from ppvae.compilation import capture
from ppvae.diagnose import diagnose
from ppvae.diagnostics import exact_posterior, log_evidence, subject
from ppvae.diagnostics.effort import Effort
from ppvae.errors import InputError
from ppvae.fit import main
from ppvae.guides import ExactPosterior, MeanField
from ppvae.models import VAE, Gaussian, LinearGaussian, StandardNormal
from ppvae.run import Run
from tests.support.fits import quick, table_file
from tests.support.pca import AFFINE

__all__ = ["quick"]  # a fixture: fits without pictures

ROWS, COLUMNS = 7, 5
SIGMAS = 5.0
Array = NDArray[np.float64]


def random_model(
    latent_dim: int = 2, shape: Sequence[int] = (COLUMNS,), noise: Any = 0.5, seed: int = 0
) -> LinearGaussian:
    """A model in float64, no weight of which is 0."""
    torch.manual_seed(seed)
    model = LinearGaussian(latent_dim, tuple(shape), noise).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


def data(rows: int = ROWS, shape: Sequence[int] = (COLUMNS,), seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(rows, *shape, generator=generator, dtype=torch.float64)


def some(shape: Sequence[int], seed: int = 2) -> Tensor:
    """Where x was observed: nowhere in the first row, everywhere in the second."""
    mask = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[0], mask[1] = False, True
    return mask


def spread(columns: int = COLUMNS, rows: int = 60, seed: int = 3) -> Tensor:
    """Data whose principal components have variances far apart."""
    generator = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator).double())
    scales = torch.logspace(0.5, -0.5, columns, dtype=torch.float64)
    x: Tensor = torch.randn(rows, columns, generator=generator).double() * scales @ axes.T + 1.0
    return x


def numbers(model: LinearGaussian) -> tuple[Array, Array, Array]:
    """W, mu, and W W' + s^2 I."""
    w, mu = model.weight.detach().numpy(), model.loc.detach().flatten().numpy()
    return w, mu, w @ w.T + float(model.noise().detach()) ** 2 * np.eye(len(w))


def conditional(model: LinearGaussian, x: Array, seen: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean and covariance of z given the elements of x that were seen, of the joint normal."""
    w, mu, covariance = numbers(model)
    gain = np.linalg.solve(covariance[np.ix_(seen, seen)], w[seen]).T
    return gain @ (x - mu)[seen], np.eye(w.shape[1]) - gain @ w[seen]


def most(x: Tensor, latent_dim: int) -> float:
    """L* = -1/2 [D ln 2pi + sum_{i <= k} ln l_i + (D - k) ln s^2 + D], of the covariance of x."""
    rest, kept = np.split(np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True)), [-latent_dim])
    d = x.shape[1]
    logs = np.log(kept).sum() + (len(rest) * np.log(rest.mean()) if len(rest) else 0.0)
    return float(-0.5 * (d * math.log(2 * math.pi) + logs + d))


# What is known of it


@pytest.mark.parametrize("noise", [0.5, "learned"])
@pytest.mark.parametrize(("shape", "latent_dim"), [((5,), 2), ((1, 2, 3), 3), ((2,), 4), ((1,), 1)])
def test_the_evidence_is_that_of_a_normal(
    shape: tuple[int, ...], latent_dim: int, noise: Any
) -> None:
    model, x = random_model(latent_dim, shape, noise), data(shape=shape)
    _, mu, covariance = numbers(model)
    want = stats.multivariate_normal.logpdf(x.flatten(1).numpy(), mu, covariance)
    np.testing.assert_allclose(model.evidence(x).detach().numpy(), want, rtol=1e-10)


@pytest.mark.parametrize(("shape", "latent_dim"), [((5,), 2), ((1, 2, 3), 3), ((2,), 4)])
def test_the_posterior_is_a_conditional_of_the_joint_normal(
    shape: tuple[int, ...], latent_dim: int
) -> None:
    model, x = random_model(latent_dim, shape), data(shape=shape)
    fn: Any = model.posterior(x)
    assert (fn.batch_shape, fn.event_shape) == ((ROWS,), (latent_dim,))
    for i, row in enumerate(x.flatten(1).numpy()):
        loc, covariance = conditional(model, row, np.ones(len(row), dtype=bool))
        np.testing.assert_allclose(fn.mean[i].detach().numpy(), loc, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            fn.covariance_matrix[i].detach().numpy(), covariance, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3)])
def test_of_missing_entries_evidence_and_posterior_are_those_of_the_others(
    shape: tuple[int, ...],
) -> None:
    model, x = random_model(2, shape), data(shape=shape)
    mask = some(x.shape)
    holed = torch.where(mask, x, torch.nan)
    evidence, fn = model.evidence(holed, mask), model.posterior(holed, mask)
    moments: Any = fn
    _, mu, covariance = numbers(model)
    for i, (row, seen) in enumerate(
        zip(x.flatten(1).numpy(), mask.flatten(1).numpy(), strict=True)
    ):
        marginal = 0.0
        if seen.any():
            marginal = stats.multivariate_normal.logpdf(
                row[seen], mu[seen], covariance[np.ix_(seen, seen)]
            )
        assert float(evidence[i].detach()) == pytest.approx(marginal, rel=1e-10, abs=1e-12)
        loc, own = conditional(model, row, seen)
        np.testing.assert_allclose(moments.mean[i].detach().numpy(), loc, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            moments.covariance_matrix[i].detach().numpy(), own, rtol=1e-9, atol=1e-12
        )
    whole = torch.ones_like(mask)
    torch.testing.assert_close(model.evidence(x, whole), model.evidence(x))


@pytest.mark.parametrize("is_holed", [False, True])
def test_gradients_of_evidence_and_posterior_are_finite_differences(is_holed: bool) -> None:
    model, x = random_model(noise="learned"), data(3)
    mask = some(x.shape) if is_holed else None
    weights, z = list(model.parameters()), torch.randn(3, 2, dtype=torch.float64)

    def both(*_: Tensor) -> tuple[Tensor, Tensor]:
        return model.evidence(x, mask), model.posterior(x, mask).log_prob(z)

    assert torch.autograd.gradcheck(both, weights)


def test_what_stands_at_missing_entries_reaches_no_gradient() -> None:
    model, x = random_model(noise="learned"), data()
    mask = some(x.shape)
    mask[:, 3] = False
    found = []
    for filler in (0.0, 1e9, torch.nan):
        total = model.evidence(torch.where(mask, x, filler), mask).sum()
        found.append(torch.autograd.grad(total, list(model.parameters())))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)
    weight, loc, _ = found[0]
    assert bool((weight[3] == 0).all())
    assert float(loc[3]) == 0


def test_its_draws_are_of_that_normal() -> None:
    model, n = random_model(noise="learned"), 40_000
    torch.manual_seed(0)
    with torch.no_grad():
        x = poutine.uncondition(model)(torch.empty(n, COLUMNS, dtype=torch.float64)).numpy()
    _, mu, covariance = numbers(model)
    off = x - mu
    error = np.sqrt(np.diag(covariance) / n)
    assert (np.abs(off.mean(0)) < SIGMAS * error).all()
    products = off[:, :, None] * off[:, None]
    error = products.std(0) / math.sqrt(n)
    assert (np.abs(products.mean(0) - covariance) < SIGMAS * error).all()


def test_single_precision_holds_where_the_posterior_is_nearly_singular() -> None:
    """W'W / s^2 of 1e10, of which single precision keeps nothing of the 1 that is added to it."""
    wide = random_model(3, noise=0.01)
    with torch.no_grad():
        wide.weight.copy_(1e3 * torch.ones(COLUMNS, 3) + 1e-2 * torch.randn(COLUMNS, 3))
    narrow = LinearGaussian(3, (COLUMNS,), noise=0.01)
    narrow.load_state_dict(wide.state_dict())
    wide.load_state_dict(narrow.state_dict())  # the very same weights
    x = data()
    mask = some(x.shape)
    for own in ({}, {"mask": mask}):
        found, want = narrow.evidence(x.float(), **own), wide.evidence(x.float().double(), **own)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), want, rtol=1e-6, atol=1e-6)
        fn: Any = narrow.posterior(x.float(), **own)
        assert fn.scale_tril.dtype == torch.float32
        assert bool(fn.scale_tril.isfinite().all())


# The most likely of its kind


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_at_its_optimum_the_mean_evidence_is_the_closed_form(latent_dim: int) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, latent_dim)
    mean = model.evidence(x).mean()
    assert float(mean.detach()) == pytest.approx(most(x, latent_dim), rel=1e-12)
    slopes = torch.autograd.grad(mean, list(model.parameters()))
    assert all(float(slope.abs().max()) < 1e-12 for slope in slopes)
    gram = (model.weight.mT @ model.weight).detach()
    torch.testing.assert_close(gram, gram.diagonal().diag())


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
@pytest.mark.parametrize("noise", ["learned", 0.3, 2.0])
def test_nothing_near_the_optimum_is_more_likely(latent_dim: int, noise: Any) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, latent_dim, noise)
    with torch.no_grad():
        best = float(model.evidence(x).mean())
        for seed in range(30):
            torch.manual_seed(seed)
            other = LinearGaussian(latent_dim, (COLUMNS,), noise).double()
            for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
                theirs.copy_(mine + 10 ** -(seed % 4) * torch.randn_like(mine))
            assert float(other.evidence(x).mean()) < best


@pytest.mark.parametrize("latent_dim", [COLUMNS, COLUMNS + 2])
def test_where_nothing_is_discarded_the_covariance_is_the_datas(latent_dim: int) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, latent_dim, floor=1e-3)
    _, mu, covariance = numbers(model)
    np.testing.assert_allclose(covariance, np.cov(x.numpy().T, bias=True), rtol=1e-7)
    np.testing.assert_allclose(mu, x.mean(0).numpy())
    assert float(model.noise().detach()) == pytest.approx(1e-3, rel=1e-5)
    assert float(model.evidence(x).mean().detach()) == pytest.approx(most(x, COLUMNS), rel=1e-9)


def test_data_in_a_plane_stop_at_the_floor() -> None:
    x = spread() @ torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])).double()
    model = LinearGaussian.optimum(x, 3, floor=0.1)
    assert float(model.noise().detach()) == pytest.approx(0.1, rel=1e-6)
    assert bool(model.evidence(x).isfinite().all())
    gram = (model.weight.mT @ model.weight).detach().diagonal()
    assert int((gram > 1e-12).sum()) == 2  # what is below the floor is noise


def test_the_optimum_of_images_is_that_of_their_elements() -> None:
    x = spread(columns=6)
    flat, image = (LinearGaussian.optimum(t, 2) for t in (x, x.unflatten(1, (1, 2, 3))))
    assert tuple(image.loc.shape) == (1, 2, 3)
    torch.testing.assert_close(image.evidence(x.unflatten(1, (1, 2, 3))), flat.evidence(x))
    narrow = LinearGaussian.optimum(x.float(), 2)
    assert {p.dtype for p in narrow.parameters()} == {torch.float32}
    torch.testing.assert_close(
        narrow.evidence(x.float()).double(), flat.evidence(x), rtol=1e-4, atol=1e-4
    )


def climb(mean: Callable[[], Tensor], weights: Sequence[nn.Parameter], steps: int) -> list[float]:
    """Every value that a search for the largest ``mean`` has seen, the last at its end."""
    optimizer = torch.optim.LBFGS(
        list(weights), max_iter=steps, history_size=50, tolerance_grad=1e-12,
        tolerance_change=1e-15, line_search_fn="strong_wolfe",
    )  # fmt: skip
    seen = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -mean()
        loss.backward()
        seen.append(-float(loss.detach()))
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        seen.append(float(mean()))
    return seen


@pytest.mark.parametrize("is_holed", [False, True])
def test_a_fit_by_the_exact_posterior_climbs_to_the_most_likely(is_holed: bool) -> None:
    x = spread()
    mask = some(x.shape) if is_holed else None
    extras = {} if mask is None else {"mask": mask}
    model = random_model(2, noise="learned", seed=5)
    guide = ExactPosterior(model)
    elbo: Any = Trace_ELBO(max_plate_nesting=1)
    seen = climb(
        lambda: -elbo.differentiable_loss(model, guide, x, **extras) / len(x),
        list(model.parameters()),
        300,
    )
    if mask is None:
        assert max(seen) <= most(x, 2) + 1e-9
        assert seen[-1] == pytest.approx(most(x, 2), abs=1e-7)
        return
    # Nobody has a closed form: but it is where the evidence is level.
    level = torch.autograd.grad(model.evidence(x, mask).mean(), list(model.parameters()))
    assert all(float(slope.abs().max()) < 1e-5 for slope in level)
    complete = LinearGaussian.optimum(x, 2)
    assert seen[-1] >= float(complete.evidence(x, mask).mean().detach())


# The exact posterior as guide

OF_WEIGHTS: list[Any] = [
    Trace_ELBO,
    StickingTheLandingELBO,
    ImportanceWeightedELBO,
    DoublyReparameterizedELBO,
    RenyiELBO,
]


@pytest.mark.parametrize("elbo", OF_WEIGHTS)
@pytest.mark.parametrize("particles", [1, 2, 20])
@pytest.mark.parametrize("is_holed", [False, True])
def test_every_bound_is_the_evidence_whatever_is_drawn_and_however_often(
    elbo: Any, particles: int, is_holed: bool
) -> None:
    model, x = random_model(), data()
    extras = {"mask": some(x.shape)} if is_holed else {}
    bound = elbo(num_particles=particles, vectorize_particles=particles > 1, max_plate_nesting=1)
    want = model.evidence(x, **extras).sum()
    for seed in range(3):
        torch.manual_seed(seed)
        loss = bound.differentiable_loss(model, ExactPosterior(model), x, **extras)
        torch.testing.assert_close(-loss, want, rtol=1e-11, atol=0)


@pytest.mark.parametrize("elbo", [Trace_ELBO, ImportanceWeightedELBO, RenyiELBO])
def test_the_gradient_of_a_bound_is_that_of_the_evidence(elbo: Any) -> None:
    model, x = random_model(noise="learned"), data()
    mask, weights = some(x.shape), list(model.parameters())
    bound = elbo(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
    for extras in ({}, {"mask": mask}):
        want = torch.autograd.grad(-model.evidence(x, **extras).sum(), weights)
        for seed in range(2):
            torch.manual_seed(seed)
            loss = bound.differentiable_loss(model, ExactPosterior(model), x, **extras)
            torch.testing.assert_close(torch.autograd.grad(loss, weights), want)


def test_with_the_kl_in_closed_form_it_is_the_evidence_in_the_mean_alone() -> None:
    model, x = random_model(), data()
    bound: Any = TraceMeanField_ELBO(
        num_particles=50, vectorize_particles=True, max_plate_nesting=1
    )
    torch.manual_seed(0)
    with torch.no_grad():
        found = torch.stack(
            [-bound.differentiable_loss(model, ExactPosterior(model), x) for _ in range(60)]
        )
        want = model.evidence(x).sum()
    error = found.std() / math.sqrt(len(found))
    assert float(error) > 1e-3
    assert abs(float(found.mean() - want)) < SIGMAS * float(error)


def test_diagnostics_find_the_evidence_and_nothing_to_mistrust() -> None:
    model, x = random_model(), data(30)
    mask = some(x.shape)
    for extras in ({}, {"mask": mask}):
        with torch.no_grad():
            want = model.evidence(x.float().double(), **extras)
        case = subject(model, ExactPosterior(model), x, **extras, elbo=Trace_ELBO)
        drawn = log_evidence(*case, samples=3)
        torch.testing.assert_close(drawn.log_p.double(), want, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(drawn.elbo.double(), want, rtol=1e-5, atol=1e-5)
        assert float(drawn.error.max()) < 1e-3
        found = exact_posterior(*case)
        assert found is not None
        torch.testing.assert_close(found.log_p, want)
        moments: Any = model.posterior(x.float().double(), **extras)
        torch.testing.assert_close(found.loc, moments.mean.detach())
        covariance = moments.covariance_matrix.detach()
        torch.testing.assert_close(found.covariance, covariance.expand_as(found.covariance))


def test_particles_stand_outside() -> None:
    model, x = random_model(3), data()
    guide, mask = ExactPosterior(model), some((ROWS, COLUMNS))
    for extras in ({}, {"mask": mask}):
        with pyro.plate("particles", 4, dim=-2):
            drawn: Any = poutine.trace(guide).get_trace(x, **extras)
            told: Any = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(x, **extras)
        drawn.compute_log_prob(), told.compute_log_prob()
        z = drawn.nodes["z"]["value"]
        assert tuple(z.shape) == (4, ROWS, 3)
        assert tuple(told.nodes["x"]["log_prob"].shape) == (4, ROWS)
        weight = sum(told.nodes[site]["log_prob"] for site in ("x", "z"))
        weight = weight - drawn.nodes["z"]["log_prob"]
        torch.testing.assert_close(weight, model.evidence(x, **extras).expand(4, ROWS))
        mean = z[0] @ model.weight.mT + model.loc
        want = stats.norm.logpdf(x.numpy(), mean.detach().numpy(), 0.5)
        if extras:
            want = want * mask.numpy()
        np.testing.assert_allclose(
            told.nodes["x"]["log_prob"][0].detach().numpy(), want.sum(1), rtol=1e-10
        )


def test_captured_it_is_what_pyro_computes() -> None:
    model, x = random_model(noise="learned").float(), data().float()
    guide, mask = ExactPosterior(model), some(x.shape)
    bound: Any = Trace_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1)
    captured = capture(model, guide, bound, x, mask=mask, compile=False)
    torch.manual_seed(4)
    loss = captured(x, mask=mask)
    slopes = torch.autograd.grad(loss, list(captured.parameters()))
    assert captured.reason == ""
    torch.manual_seed(4)
    want = bound.differentiable_loss(model, guide, x, mask=mask)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(slopes, torch.autograd.grad(want, list(captured.parameters())))


def test_the_posterior_is_no_second_owner_of_the_weights() -> None:
    model = random_model(noise="learned")
    guide = ExactPosterior(model)
    assert list(guide.parameters()) == []
    assert guide.state_dict() == {}
    assert set(model.state_dict()) == {"weight", "loc", "noise.raw"}
    other = LinearGaussian(2, (COLUMNS,)).double()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.evidence(data()), model.evidence(data()), rtol=0, atol=0)


# Mean field beside it


def exact_bound(model: LinearGaussian, guide: MeanField, x: Tensor) -> Tensor:
    """The ELBO of each row, exactly: the log joint is quadratic, and its mean that over 2k points.

    Under N(loc, diag scale^2) the points are loc +- sqrt(k) scale_j e_j.
    """
    fn: Any = guide.posterior(x)
    k = fn.mean.shape[-1]
    arms = math.sqrt(k) * torch.diag_embed(fn.stddev).movedim(-2, 0)
    held = {"z": fn.mean + torch.cat([arms, -arms])}
    with pyro.plate("points", 2 * k, dim=-2):
        trace: Any = poutine.trace(poutine.condition(model, held)).get_trace(x)
    trace.compute_log_prob()
    joint = trace.nodes["z"]["log_prob"] + trace.nodes["x"]["log_prob"]
    entropy = fn.stddev.log().sum(-1) + 0.5 * k * math.log(2 * math.pi * math.e)
    bound: Tensor = joint.mean(0) + entropy
    return bound


def gap_of(model: LinearGaussian) -> float:
    """1/2 [sum ln M_jj - ln |M|], M = W'W / s^2 + I."""
    w, _, _ = numbers(model)
    m = w.T @ w / float(model.noise().detach()) ** 2 + np.eye(w.shape[1])
    return float(0.5 * (np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1]))


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4])
def test_mean_field_misses_what_the_posterior_is_correlated_by(angle: float) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, 2)
    evidence = model.evidence(x).detach()
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    with torch.no_grad():
        model.weight.copy_(model.weight @ turn.double())
    # Another basis of the same plane is another guide's problem, and no other model.
    torch.testing.assert_close(model.evidence(x), evidence)
    torch.manual_seed(0)
    guide = MeanField(2, (COLUMNS,), AFFINE).double()
    climb(lambda: exact_bound(model, guide, x).mean(), list(guide.parameters()), 200)
    missed = evidence - exact_bound(model, guide, x).detach()
    want = gap_of(model)
    torch.testing.assert_close(missed, torch.full_like(missed, want), rtol=1e-5, atol=1e-6)
    assert want == pytest.approx(0, abs=1e-12) if angle == 0 else want > 0.1


def test_mean_field_finds_the_principal_axes_and_misses_nothing_there() -> None:
    """The linear VAE (Lucas et al., 2019): of all bases its bound prefers the orthogonal one."""
    x = spread()
    model = random_model(2, noise="learned", seed=5)
    with torch.no_grad():
        model.weight[:, 1] += model.weight[:, 0]
    assert gap_of(model) > 0.1
    guide = MeanField(2, (COLUMNS,), AFFINE).double()
    weights = [*model.parameters(), *guide.parameters()]
    seen = climb(lambda: exact_bound(model, guide, x).mean(), weights, 150)
    assert max(seen) <= most(x, 2) + 1e-9
    assert seen[-1] == pytest.approx(most(x, 2), abs=1e-5)
    assert gap_of(model) < 1e-5
    w, _, _ = numbers(model)
    w = w / np.linalg.norm(w, axis=0)
    axes = np.linalg.eigh(np.cov(x.numpy().T, bias=True))[1][:, -2:]
    overlap = np.abs(axes.T @ w)
    assert np.allclose(np.sort(overlap.ravel()), [0, 0, 1, 1], atol=1e-2)


def test_the_sampled_bound_of_mean_field_is_the_exact_one_in_the_mean() -> None:
    model, x = random_model(), data()
    torch.manual_seed(0)
    guide = MeanField(2, (COLUMNS,), AFFINE).double()
    bound: Any = Trace_ELBO(num_particles=100, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        found = torch.stack([-bound.differentiable_loss(model, guide, x) for _ in range(100)])
        want = exact_bound(model, guide, x).sum()
    assert abs(float(found.mean() - want)) < SIGMAS * float(found.std()) / math.sqrt(len(found))
    assert float(want) < float(model.evidence(x).sum().detach()) - 0.1


# What is refused


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"noise": 0.0}, "noise` is 0.0; give a number above 0, or 'learned'"),
        ({"noise": -1.0}, "noise` is -1.0; give a number above 0, or 'learned'"),
        ({"noise": math.inf}, "noise` is inf; give a number above 0"),
        ({"noise": "learnt"}, "noise` is 'learnt'; give a number above 0, or 'learned'"),
        ({"floor": 0.0}, "floor` is 0.0; a noise needs a floor above 0"),
        ({"latent_dim": 0}, "latent_dim` is 0"),
    ],
)
def test_numbers_that_make_no_model_are_refused(own: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"latent_dim": 2, "data_shape": (3,)}
    with pytest.raises(InputError, match=sentence):
        LinearGaussian(**(given | own))


def test_a_model_that_does_not_know_its_posterior_is_refused() -> None:
    model = VAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE)
    with pytest.raises(
        InputError, match=r"the model VAE has no method 'posterior\(x, mask\)'.* `guide='Mean"
    ):
        ExactPosterior(model)


# From the command line

TINY = Effort(
    climbed_steps=6, climbed_rows=9, climbed_draws=2,
    rows=9, evidence_rows=9, samples=10, trusted_rows=9, trusted_samples=10, refined_rows=4,
    refine_steps=60, annealed_rows=9, temperatures=4, chains=2, sampled_rows=2, nuts_draws=20,
    simulations=40, replications=5, estimates=6, particles=(1, 2), kept_rows=3, kept_draws=5,
)  # fmt: skip


def everything(split: Any) -> Tensor:
    x: Tensor = split.take(torch.arange(len(split)))["x"]
    return x.double()


@pytest.mark.slow
def test_the_command_climbs_to_the_most_likely_and_reports_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    main([
        "--data", str(table_file(tmp_path)), "--model", "LinearGaussian",
        "--guide", "ExactPosterior", "--elbo", "Trace_ELBO", "--latent-dim", "1",
        "--epochs", "30", "--batch-size", "24", "--lr", "0.2", "--device", "cpu",
        "--precision", "64", "--out", str(out),
    ])  # fmt: skip
    run = Run(out)
    train, test = (everything(split) for split in (run.data().train, run.data().test))
    climbed: Any = Run(out, checkpoint="last").model
    with torch.no_grad():
        found = float(climbed.evidence(train).mean())
    assert most(train, 1) - 0.02 < found <= most(train, 1)

    summary = json.loads((out / "summary.json").read_text())
    best: Any = run.model
    with torch.no_grad():
        want = float(best.evidence(test).mean())
    assert summary["elbo"] == pytest.approx(want, rel=1e-6)
    assert summary["log_p"]["mean"] == pytest.approx(want, rel=1e-6)

    monkeypatch.setattr("ppvae.diagnostics.effort.QUICK", TINY)
    monkeypatch.setattr("ppvae.run.figures.save", lambda *_: None)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_WARM_UP", 2)
    monkeypatch.setattr("ppvae.diagnostics.evidence.annealing.PILOT_TEMPERATURES", 4)
    diagnose(run, quick=True, only=["evidence"], out=tmp_path / "diagnosis")
    record = json.loads((tmp_path / "diagnosis" / "diagnostics.json").read_text())
    evidence = record["answers"]["evidence"]
    assert evidence["rows"] == len(test)
    for name in ("exact", "importance_sampled", "annealed"):
        assert evidence[name]["value"] == pytest.approx(want, rel=1e-5)
    assert evidence["curve"]["bound"] == pytest.approx([want] * len(evidence["curve"]["bound"]))
