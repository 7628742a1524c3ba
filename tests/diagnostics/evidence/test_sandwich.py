"""Laws of the sandwich: two bounds that hold on simulated data, and meet if they should."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from ppvae.diagnostics import subject
from ppvae.diagnostics.evidence import annealing
from ppvae.diagnostics.evidence.hmc import AnnealingPath, Start
from ppvae.diagnostics.evidence.sandwich import Sandwich, sandwich
from ppvae.errors import InputError
from ppvae.programs import evaluating
from ppvae.programs.facts import Audit
from tests.support.pca import PCA, pca
from tests.support.slow import few

SIGMAS = 5.0
STARTS: tuple[Start, ...] = ("prior", "guide")


def covariance(it: PCA) -> Tensor:
    """Of x, under the model."""
    return it.w @ it.w.T + it.variance * torch.eye(len(it.b), dtype=torch.float64)


def density(it: PCA, x: Tensor) -> Tensor:
    """log p(x) of any data under the model."""
    log_p: Tensor = torch.distributions.MultivariateNormal(it.b, covariance(it)).log_prob(x)
    return log_p


def is_one(ratio: Tensor) -> bool:
    """Whether independent estimates of 1 have it as their mean."""
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert error < 0.05, f"the standard error {error} is too large for this test"
    return abs(float(ratio.mean()) - 1) < SIGMAS * error


def unbiased(found: Sandwich, truth: Tensor) -> bool:
    """Whether mean weights have p(x), and mean inverse weights 1 / p(x), as their means."""
    return is_one((found.lower - truth).exp()) and is_one((truth - found.upper).exp())


@pytest.fixture
def short_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short pilot, for laws that hold with any step sizes."""
    monkeypatch.setattr(annealing, "PILOT_WARM_UP", 8)
    monkeypatch.setattr(annealing, "PILOT_TEMPERATURES", 4)


@pytest.mark.parametrize("start", few(STARTS, 2))
def test_the_sandwich_closes_around_the_evidence(start: Start) -> None:
    it = pca(rows=30, columns=5, latent=3, variance=0.3, rotated=True, shift=0.4, widen=0.6)
    gaps = []
    for temperatures in (3, 60):
        found = sandwich(
            it.pair,
            it.facts,
            it.rows,
            count=80,
            temperatures=temperatures,
            chains=4,
            leapfrog=2,
            batch_size=80,
            start=start,
        )
        truth = density(it, found.x)
        for side in (truth - found.lower, found.upper - truth):
            assert float(side.mean()) > -SIGMAS * float(side.std()) / math.sqrt(80)
        gaps.append((found.mean, found.standard_error))
        # Each temperature has its tuned step, also in the reverse direction.
        assert float(found.acceptance.min()) > 0.4
        torch.testing.assert_close(found.gap, found.upper - found.lower)
        assert found.mean == pytest.approx(float(found.gap.mean()))
    (few, few_error), (many, many_error) = gaps
    assert few > SIGMAS * few_error  # significant at first, not afterwards
    assert many > -SIGMAS * many_error
    assert few > 5 * abs(many)
    assert many_error < few_error / 3


@pytest.mark.parametrize("start", STARTS)
def test_the_mean_inverse_weight_is_the_inverse_density(start: Start, short_pilot: None) -> None:
    """With few temperatures; it fails if the reverse path differs from the forward path."""
    it = pca(rows=30, columns=3, variance=5.0, rotated=True, shift=0.2, widen=1.2)
    found = sandwich(
        it.pair,
        it.facts,
        it.rows,
        count=3000,
        temperatures=5,
        chains=4,
        leapfrog=2,
        start=start,
        batch_size=3000,
    )
    assert unbiased(found, density(it, found.x))


def test_each_temperature_has_its_own_steps_on_the_way_back_too() -> None:
    it = pca(rows=3)
    posterior = {"z": it.posterior_loc.unsqueeze(0)}
    steps = torch.tensor([[0.01], [0.01], [9.0]], dtype=torch.float64).expand(3, 3)
    plan = annealing.AnnealingPlan(5, 20, 2)
    with evaluating(it.pair):
        path = AnnealingPath(it.pair, it.facts, {"x": it.x}, "prior")
        _, there = plan.forward(path, steps, lambda: None)
        _, back = plan.backward(path, posterior, steps, lambda: None)
    for accepted in (there, back):
        assert float(accepted[:2].min()) > 0.95
        assert float(accepted[2].max()) < 0.05


def test_simulated_data_is_the_models() -> None:
    """Only the shape of the given data matters."""
    it = pca(rows=1)
    found = sandwich(
        it.pair, it.facts, it.rows, count=4000, temperatures=2, chains=1, batch_size=4000
    )
    assert tuple(found.x.shape) == (4000, 4)
    scale = covariance(it).diagonal().sqrt()
    assert bool(((found.x.mean(0) - it.b).abs() < SIGMAS * scale / math.sqrt(4000)).all())
    error = ((covariance(it).square() + torch.outer(scale, scale).square()) / 4000).sqrt()
    assert bool(((found.x.T.cov() - covariance(it)).abs() < SIGMAS * error).all())


def test_labels_stay_observed(short_pilot: None) -> None:
    """p(y) p(z | y) p(x | z), with a label above the latents."""

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            label = pyro.sample("label", dist.Bernoulli(torch.tensor(0.3)), obs=y.float())
            z = pyro.sample("z", dist.Normal(2 * label, 1.0))
            pyro.sample("x", dist.Normal(z, 2.0), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc.expand(len(x)), 1.0))

    y = torch.tensor([0, 1, 1] * 300)
    it = subject(model, guide, torch.randn(len(y)), y, elbo=Trace_ELBO)
    found = sandwich(*it, count=900, temperatures=4, chains=4, leapfrog=2, batch_size=900)
    label = dist.Bernoulli(torch.tensor(0.3)).log_prob(y.float())
    assert unbiased(found, label + dist.Normal(2.0 * y, math.sqrt(5.0)).log_prob(found.x))


def test_a_looping_program_is_simulated_and_annealed(short_pilot: None) -> None:
    it = pca(rows=10, columns=3, variance=5.0)
    facts = Audit(**{**it.facts.__dict__, "vectorizes": False})
    found = sandwich(
        it.pair, facts, it.rows, count=500, temperatures=4, chains=4, leapfrog=2, batch_size=500
    )
    assert unbiased(found, density(it, found.x))


def test_the_answer_is_a_function_of_the_seed_and_moves_nothing(short_pilot: None) -> None:
    it = pca(rows=3)
    arguments: dict[str, Any] = {
        "count": 6, "temperatures": 4, "chains": 2, "leapfrog": 1, "batch_size": 3
    }  # fmt: skip
    state = torch.get_rng_state()
    seen: list[int] = []
    weights = [p.clone() for p in it.pair.parameters()]
    one = sandwich(it.pair, it.facts, it.rows, on_rows=seen.append, **arguments)
    assert torch.equal(state, torch.get_rng_state())
    assert sum(seen) == 6
    torch.rand(3)
    two = sandwich(it.pair, it.facts, it.rows, **arguments)
    other = sandwich(it.pair, it.facts, it.rows, seed=1, **arguments)
    assert torch.equal(one.lower, two.lower)
    assert torch.equal(one.upper, two.upper)
    assert bool((one.x != other.x).all())
    assert len({tuple(row) for row in one.x.tolist()}) == 6  # the same rows, and other data
    assert it.pair.training
    assert all(map(torch.equal, weights, it.pair.parameters()))
    assert all(p.grad is None and p.requires_grad for p in it.pair.parameters())


def test_numbers_out_of_their_range_are_refused() -> None:
    it = pca(rows=2)
    with pytest.raises(InputError, match="count is 0"):
        sandwich(it.pair, it.facts, it.rows, count=0)
    with pytest.raises(InputError, match="temperatures is 1"):
        sandwich(it.pair, it.facts, it.rows, temperatures=1)


def reads_x(x: Tensor, y: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        before = torch.stack([z, x[:, 0]], -1)
        pyro.sample("x", dist.Normal(before, 1.0).to_event(1), obs=x)


def in_parts(x: Tensor, y: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("left", dist.Normal(z, 1.0), obs=x[:, 0])
        pyro.sample("right", dist.Normal(z, 1.0), obs=x[:, 1])


def decides_y(x: Tensor, y: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("y", dist.Bernoulli(logits=z), obs=y.float())
        pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(-1, 2), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (reads_x, "depends on the values of x"),
        (in_parts, "observe x whole at one site"),
        (decides_y, "site 'y' is observed and depends on earlier draws"),
    ],
)
def test_what_cannot_be_simulated_is_refused(model: Callable[..., Any], sentence: str) -> None:
    def guide(x: Tensor, y: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc.expand(len(x)), 1.0))

    y = torch.tensor([0, 1, 0, 1, 1])
    it = subject(model, guide, torch.randn(5, 2), y, elbo=Trace_ELBO)
    with pytest.raises(InputError, match=sentence):
        sandwich(*it, count=2)
