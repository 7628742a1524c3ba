"""A Hamiltonian transition leaves its density invariant, with the expected number of calls."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ppvae.diagnostics.evidence import annealing, hmc
from ppvae.diagnostics.evidence.annealing import anneal
from ppvae.programs import evaluating
from tests.support.annealed import SIGMAS
from tests.support.pca import pca

# Transitions.


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_a_transition_leaves_its_density_as_it_is(t: float) -> None:
    """f_t is normal: exact draws stay exact, and move."""
    it = pca(rows=2, variance=1.0, rotated=True)
    n = 30_000
    eye = torch.eye(2, dtype=torch.float64)
    precision = eye + t * it.w.T @ it.w / it.variance
    loc = torch.linalg.solve(precision, t * it.w.T @ (it.x - it.b).T / it.variance).T
    covariance = torch.linalg.inv(precision)
    torch.manual_seed(0)
    z = torch.distributions.MultivariateNormal(loc, covariance).sample((n,))
    with evaluating(it.pair):
        path = hmc.AnnealingPath(it.pair, it.facts, {"x": it.x}, "prior")
        point = path.place({"z": z})
        step = torch.full((2,), 0.8, dtype=torch.float64)
        for _ in range(4):
            point, probability = hmc.transition(path, point, t, step, 3)
    assert 0.2 < float(probability.mean()) < 0.97
    moved = point.position
    assert float((moved - z).abs().mean()) > 0.3
    scale = covariance.diagonal().sqrt()
    assert bool(((moved.mean(0) - loc).abs() < SIGMAS * scale / math.sqrt(n)).all())
    error = ((covariance.square() + torch.outer(scale, scale).square()) / n).sqrt()
    for row in range(2):
        assert bool(((moved[:, row].T.cov() - covariance).abs() < SIGMAS * error).all())
    # The cached values are those of the position.
    again = path.at(moved)
    torch.testing.assert_close(point.log_density(t), again.log_density(t))
    torch.testing.assert_close(point.gradient(t), again.gradient(t))
    torch.testing.assert_close(point.gradient(t), (loc - moved) @ precision)


def test_a_trajectory_costs_its_steps_and_no_pass_more(monkeypatch: pytest.MonkeyPatch) -> None:
    it = pca(rows=4)
    calls: list[int] = []
    at = hmc.AnnealingPath.at

    def counted(self: Any, position: Tensor) -> Any:
        calls.append(len(position))
        return at(self, position)

    monkeypatch.setattr(hmc.AnnealingPath, "at", counted)
    anneal(it.pair, it.facts, it.rows, temperatures=7, chains=3, leapfrog=2)
    assert calls.count(3) == 5 * 2 + 1
    assert calls.count(annealing.PILOT_CHAINS) == (20 + 30) * 2 + 1
