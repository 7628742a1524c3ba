"""Probabilistic PCA: evidence and posterior of `LinearGaussian` in closed form."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from pyro import poutine
from scipy import stats
from torch import Tensor

from ppvae.errors import InputError
from ppvae.models import LinearGaussian
from tests.support.linear_gaussian import (
    COLUMNS,
    ROWS,
    SIGMAS,
    conditional,
    data,
    numbers,
    random_model,
    some,
)


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
    """W'W / s^2 of 1e10, to which single precision cannot add 1."""
    wide = random_model(3, noise=0.01)
    with torch.no_grad():
        wide.weight.copy_(1e3 * torch.ones(COLUMNS, 3) + 1e-2 * torch.randn(COLUMNS, 3))
    narrow = LinearGaussian(3, (COLUMNS,), noise=0.01)
    narrow.load_state_dict(wide.state_dict())
    wide.load_state_dict(narrow.state_dict())  # the same weights
    x = data()
    mask = some(x.shape)
    for own in ({}, {"mask": mask}):
        found, want = narrow.evidence(x.float(), **own), wide.evidence(x.float().double(), **own)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), want, rtol=1e-6, atol=1e-6)
        fn: Any = narrow.posterior(x.float(), **own)
        assert fn.scale_tril.dtype == torch.float32
        assert bool(fn.scale_tril.isfinite().all())


# Refusals


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
