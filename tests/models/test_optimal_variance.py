"""The optimal variance of a Gaussian: of a batch in training, a running mean in evaluation."""

import copy
import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from scipy import stats
from torch import Tensor, nn

from ppvae.bounds import ELBOS, FreeBitsELBO, WeightedELBO
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound, Terms
from ppvae.compilation.step import CapturedStep
from ppvae.errors import InputError
from ppvae.guides import MeanField, SemiSupervised
from ppvae.models import (
    VAE,
    SemiSupervisedVAE,
    StandardNormal,
    likelihoods,
    observe,
)
from ppvae.networks import MLP
from ppvae.programs import Pair
from tests.support.bounds import LINEAR
from tests.support.fits import quick, small, weights
from tests.support.likelihoods import digits

__all__ = ["quick"]  # a fixture


def optimal(shape: tuple[int, ...] = (3,), **own: Any) -> likelihoods.Gaussian:
    return likelihoods.Gaussian(shape, variance="optimal", **own).double().train()


def pair_of(*lead: int) -> tuple[Tensor, Tensor]:
    """Outputs of a decoder, and data: ``(*lead, 1, 3)`` and ``(batch, 3)``."""
    generator = torch.Generator().manual_seed(2)
    h = torch.randn(*lead, 1, 3, generator=generator, dtype=torch.float64)
    return h, 2 * torch.randn(lead[-1], 3, generator=generator, dtype=torch.float64)


def test_in_training_the_variance_is_the_mean_square_of_the_batch_and_of_all_its_particles() -> (
    None
):
    for lead in ((5,), (4, 5)):
        h, x = pair_of(*lead)
        square = (x - h[..., 0, :]).square()
        want = stats.norm.logpdf(x.numpy(), h[..., 0, :].numpy(), math.sqrt(square.mean()))
        np.testing.assert_allclose(optimal()(h).log_prob(x).numpy(), want.sum(-1), rtol=1e-12)
        # No other variance has a higher likelihood.
        best = optimal()(h).log_prob(x).sum()
        for factor in (0.9, 1.1):
            other = likelihoods.Gaussian((3,), variance=factor * float(square.mean())).double()
            assert other(h).log_prob(x).sum() < best


def test_what_is_missing_does_not_count_in_the_variance() -> None:
    h, x = pair_of(4, 5)
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    likelihood = optimal()
    with pyro.plate("particles", 4, dim=-2), pyro.plate("data", 5):
        trace: Any = poutine.trace(observe).get_trace(x, likelihood(h), mask)
    trace.compute_log_prob()
    seen = (x - h[..., 0, :])[mask.expand(4, 5, 3)]
    want = stats.norm.logpdf(seen.numpy(), 0, seen.square().mean().sqrt()).sum()
    assert float(trace.log_prob_sum()) == pytest.approx(want, rel=1e-12)
    assert float(likelihood.variance) == pytest.approx(float(seen.square().mean()), rel=1e-12)


def test_a_batch_in_which_nothing_was_observed_teaches_nothing() -> None:
    h, x = pair_of(5)
    likelihood = optimal()
    likelihood(h).log_prob(x)
    before = float(likelihood.variance)
    likelihood(h).base_dist.mask(torch.zeros(5, 3, dtype=torch.bool)).log_prob(x)
    assert float(likelihood.variance) == pytest.approx(before, rel=1e-12)


def test_evaluation_takes_a_running_mean_that_it_does_not_move() -> None:
    h, x = pair_of(5)
    likelihood = optimal(momentum=0.4)
    squares, running = [], 0.0
    for number in range(1, 6):
        likelihood(h).log_prob(number * x)
        squares.append(float((number * x - h[:, 0]).square().mean()))
        rate = max(1 / number, 0.4)
        running = (1 - rate) * running + rate * squares[-1]
        assert float(likelihood.variance) == pytest.approx(running, rel=1e-12)
    assert sum(squares[:2]) / 2 < running < squares[-1]
    likelihood.eval()
    state = copy.deepcopy(likelihood.state_dict())
    together = likelihood(h).log_prob(x)
    alone = torch.cat([likelihood(h[i : i + 1]).log_prob(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    want = stats.norm.logpdf(x.numpy(), h[:, 0].numpy(), math.sqrt(running)).sum(1)
    np.testing.assert_allclose(together.numpy(), want, rtol=1e-10)
    assert all(torch.equal(v, state[k]) for k, v in likelihood.state_dict().items())
    twin = optimal(momentum=0.4).eval()
    twin.load_state_dict(state)
    assert torch.equal(twin(h).log_prob(x), together)


def test_no_variance_is_below_the_floor() -> None:
    h, _ = pair_of(5)
    x = h[:, 0]
    likelihood = optimal(floor=0.01)
    for training in (True, False):
        log_p = likelihood.train(training)(h).log_prob(x)
        want = 3 * stats.norm.logpdf(0.0, 0.0, 0.1)
        np.testing.assert_allclose(log_p.numpy(), want, rtol=1e-7)
    each = likelihoods.Gaussian((3,), variance="per-pixel", floor=0.01).double()
    small = torch.stack([x, torch.full_like(x, -1e3)], 1)
    torch.testing.assert_close(each(small).variance, torch.full_like(x, 0.01))


def bound_of(elbo: type[ELBO] = TraceMeanField_ELBO, variance: Any = "optimal") -> Bound:
    pyro.set_rng_seed(0)
    batch = {"x": digits()[:16] / 16}
    network = partial(MLP, hidden=(8,))
    likelihood = likelihoods.Gaussian((64,), variance=variance)
    model: nn.Module = VAE(StandardNormal(2), likelihood, network)
    guide: nn.Module = MeanField(2, (64,), network)
    if issubclass(elbo, TraceEnum_ELBO):
        model = SemiSupervisedVAE(StandardNormal(2), likelihood, network, 3)
        guide = SemiSupervised(2, (64,), network, 3)
    pair = Pair(model, guide, batch)
    return Bound(pair, elbo, audit(pair, elbo, batch), particles=2).double()


@pytest.mark.parametrize("elbo", ELBOS)
def test_where_draws_have_weights_a_variance_that_is_read_off_them_is_refused(
    elbo: type[ELBO],
) -> None:
    bound_of(elbo, "learned")
    if not issubclass(elbo, (TraceEnum_ELBO, WeightedELBO)):
        bound_of(elbo)
        return
    sentence = (
        f"^site 'x': variance 'optimal' is optimal only where all draws count alike, and "
        f"{elbo.__name__} weighs them; take `likelihood.variance='learned'`$"
    )
    with pytest.raises(InputError, match=sentence):
        bound_of(elbo)


@pytest.mark.parametrize("elbo", [*LINEAR, FreeBitsELBO])
def test_a_step_counts_its_batch_once_however_often_the_bound_scores_it(elbo: type[ELBO]) -> None:
    bound, batch = bound_of(elbo), {"x": (digits()[:16] / 16).double()}
    squares: list[Tensor] = []
    running = bound.get_submodule("pair.model.likelihood.shared")
    before = copy.deepcopy(running.state_dict())
    with torch.no_grad():  # evaluation changes nothing
        bound(batch)
    assert all(torch.equal(v, before[k]) for k, v in running.state_dict().items())
    bound.get_submodule("pair.model.decoder").register_forward_hook(
        lambda _m, _i, h: squares.append((batch["x"] - h[..., 0, :]).square().mean())
    )
    for number in (1, 2, 3):
        bound(batch)
        assert len(squares) == int(running.state_dict()["count"]) == number
    mean = torch.stack(squares).mean()
    torch.testing.assert_close(running.state_dict()["mean"], mean.detach())


@pytest.mark.slow
def test_in_a_captured_step_the_running_variance_moves_as_in_a_plain_one() -> None:
    bounds = bound_of(), bound_of()
    optimizers = [torch.optim.Adam(b.parameters(), lr=1e-2) for b in bounds]
    data = (digits()[:80] / 16).double().split(16)
    sums = torch.zeros(len(Terms._fields) + 1, dtype=torch.float64)

    def plain(number: int, x: Tensor) -> None:
        optimizers[number].zero_grad()
        (-bounds[number]({"x": x}).objective / 16).backward()
        optimizers[number].step()

    pyro.set_rng_seed(1)
    for x in data:
        plain(0, x)
    pyro.set_rng_seed(1)
    plain(1, data[0])
    step = CapturedStep(
        bounds[1], optimizers[1], lambda x: {"x": x}, per=1 / 16, clip=None,
        context=nullcontext, compile=False,
    )  # fmt: skip
    seen = []
    for x in data[1:]:
        step(x, 1.0, sums)
        seen.append(float(bounds[1].state_dict()["pair.model.likelihood.shared.mean"]))
    assert len(set(seen)) == len(seen)
    states = [b.state_dict() for b in bounds]
    assert int(states[0]["pair.model.likelihood.shared.count"]) == len(data)
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_fit_saves_the_variance_that_its_bound_is_of(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("step", "captured"):
        monkeypatch.setattr(f"ppvae.compilation.{module}.compiled", lambda graph: graph)
    likelihood = {"class_path": "Gaussian", "init_args": {"variance": "optimal"}}
    runs = [
        small(tmp_path, how, likelihood=likelihood, compile=how, epochs=4) for how in ("on", "off")
    ]
    one, other = (weights(run.path) for run in runs)
    assert int(one["model.likelihood.shared.count"]) == 4 * 3
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-3, atol=1e-4)
    opened: Any = runs[0].model
    assert torch.equal(opened.likelihood.variance, one["model.likelihood.shared.mean"])
    assert float(opened.likelihood.variance) not in (0.0, 1.0)
