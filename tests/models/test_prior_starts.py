"""Initial states of priors, and learned priors that follow the codes."""

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from tests.support.means import is_mean
from tests.support.priors import CASES, fresh, over


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("LearnedNormal", {}),
        ("FlowPrior", {"kind": "spline"}),
        ("FlowPrior", {"kind": "affine"}),
        ("StudentT", {"df": 1e9}),
    ],
)
def test_it_starts_as_the_standard_normal(name: str, own: dict[str, Any]) -> None:
    z = 3 * torch.randn(50, 4, dtype=torch.float64)
    want = fresh("StandardNormal", {}, 4)(z)
    torch.testing.assert_close(fresh(name, own, 4)(z), want, rtol=1e-6, atol=1e-6)


def test_others_start_at_scale_one_and_near_the_moments_of_the_standard_normal() -> None:
    z = torch.randn(50, 4, dtype=torch.float64)
    learned, fixed = (fresh("Laplace", {"scale": s}, 4) for s in ("learned", 1.0))
    torch.testing.assert_close(learned(z), fixed(z))
    mixture = fresh("MixtureOfNormals", {"components": 10_000}, 4).prior()
    assert is_mean(mixture.components.mean, torch.zeros(4))
    torch.testing.assert_close(mixture.variance, torch.ones(4).double(), rtol=0.05, atol=0)


def codes(count: int) -> Tensor:
    """Codes of two kinds."""
    z = torch.randn(count, 2) * torch.tensor([0.3, 0.5])
    z[:, 0] += 4 * torch.randint(2, (count,)) - 2
    return z


LEARNED = [(name, own) for name, own in CASES if [*fresh(name, own).parameters()]]
BEYOND = ("MixtureOfNormals", "VampPrior", "FlowPrior")


@over(LEARNED, every=3)
def test_learned_it_fits_codes_of_two_kinds_better_than_the_standard_normal(
    name: str, own: dict[str, Any]
) -> None:
    case = fresh(name, own).float()
    train, held_out = codes(500), codes(500)
    optimizer = torch.optim.Adam(case.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (-case(train).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        gain = case(held_out) - fresh("StandardNormal", {}).float()(held_out)
        assert float(gain.mean()) > 5 * float(gain.std()) / math.sqrt(500)
        if name in BEYOND and own.get("components") != 1 and own.get("kind") != "affine":
            best = dist.Normal(train.mean(0), train.std(0)).to_event(1)
            assert float((case(held_out) - best.log_prob(held_out)).mean()) > 0.5
