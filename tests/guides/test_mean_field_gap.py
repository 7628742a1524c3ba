"""The gap of the mean-field guide to an exact posterior, in closed form."""

import math
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.guides import MeanField
from ppvae.models import LinearGaussian
from tests.support.linear_gaussian import (
    COLUMNS,
    SIGMAS,
    climb,
    data,
    most,
    numbers,
    random_model,
    spread,
)
from tests.support.pca import AFFINE
from tests.support.slow import few


def exact_bound(model: LinearGaussian, guide: MeanField, x: Tensor) -> Tensor:
    """The exact ELBO of each row: the log joint is quadratic, and its mean is that over 2k points.

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


@pytest.mark.parametrize("angle", few([0.0, 0.3, math.pi / 4], 3))
def test_mean_field_misses_what_the_posterior_is_correlated_by(angle: float) -> None:
    x = spread()
    model = LinearGaussian.optimum(x, 2)
    evidence = model.evidence(x).detach()
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    with torch.no_grad():
        model.weight.copy_(model.weight @ turn.double())
    # Another basis of the same plane is the same model, but a harder problem for the guide.
    torch.testing.assert_close(model.evidence(x), evidence)
    torch.manual_seed(0)
    guide = MeanField(2, (COLUMNS,), AFFINE).double()
    climb(lambda: exact_bound(model, guide, x).mean(), list(guide.parameters()), 200)
    missed = evidence - exact_bound(model, guide, x).detach()
    want = gap_of(model)
    torch.testing.assert_close(missed, torch.full_like(missed, want), rtol=1e-5, atol=1e-6)
    assert want == pytest.approx(0, abs=1e-12) if angle == 0 else want > 0.1


@pytest.mark.slow
def test_mean_field_finds_the_principal_axes_and_misses_nothing_there() -> None:
    """The linear VAE (Lucas et al., 2019): its bound is highest for an orthogonal basis."""
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
