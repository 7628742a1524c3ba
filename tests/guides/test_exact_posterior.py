"""The exact posterior as a guide: every bound is the evidence."""

import math
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import stats

from ppvae.bounds import (
    DoublyReparameterizedELBO,
    ImportanceWeightedELBO,
    RenyiELBO,
    StickingTheLandingELBO,
)
from ppvae.compilation import capture
from ppvae.diagnostics import exact_posterior, log_evidence, subject
from ppvae.errors import InputError
from ppvae.guides import ExactPosterior
from ppvae.models import VAE, Gaussian, LinearGaussian, StandardNormal
from tests.support.linear_gaussian import COLUMNS, ROWS, SIGMAS, data, random_model, some
from tests.support.pca import AFFINE

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


@pytest.mark.slow
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


def test_a_model_that_does_not_know_its_posterior_is_refused() -> None:
    model = VAE(StandardNormal(2), Gaussian((3,), variance=1.0), AFFINE)
    with pytest.raises(
        InputError, match=r"the model VAE has no method 'posterior\(x, mask\)'.* `guide='Mean"
    ):
        ExactPosterior(model)
