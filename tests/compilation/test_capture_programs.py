"""Captured user programs: equal to eager ones."""

from collections.abc import Callable
from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.compilation import capture
from tests.support.captures import COLUMNS, COMPILERS, ROWS, clean, value_and_gradients
from tests.support.plain_programs import Tutorial, functions
from tests.support.slow import few

__all__ = ["clean"]  # fixtures


def discrete() -> tuple[Any, Any]:
    """A latent without a reparameterized draw: the score-function half of Trace_ELBO."""

    def model(x: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor([-1.0, 1.0]))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.5))
            mean = torch.where(z.bool(), loc[1], loc[0])[..., None]
            pyro.sample("x", dist.Normal(mean, 1.0).expand([*x.shape]).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        logit = pyro.param("logit", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=logit + x.sum(-1)))

    return model, guide


def scaled() -> tuple[Any, Any]:
    owner = Tutorial()
    return pyro.poutine.scale(owner.model, 0.5), pyro.poutine.scale(owner.guide, 0.5)


def subsampled() -> tuple[Any, Any]:
    owner = Tutorial()

    def model(x: Tensor) -> None:
        pyro.module("decoder", owner.decoder)
        with pyro.plate("data", 20, subsample=torch.arange(len(x))):
            z = pyro.sample("latent", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("obs", dist.Normal(owner.decoder(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", owner.encoder)
        with pyro.plate("data", 20, subsample=torch.arange(len(x))):
            pyro.sample("latent", dist.Normal(owner.encoder(x), 0.5).to_event(1))

    return model, guide


def global_and_local() -> tuple[Any, Any]:
    def model(x: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(COLUMNS), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[..., None] * w, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(COLUMNS))
        weight = pyro.param("weight", torch.ones(COLUMNS))
        pyro.sample("w", dist.Normal(loc, 0.3).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ weight, 0.5))

    return model, guide


def normalized() -> tuple[Any, Any]:
    """Running means, which move in training."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(COLUMNS, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    owner = Tutorial()
    owner.encoder = network
    return owner.model, owner.guide


def methods(owner: Any) -> tuple[Any, Any]:
    return owner.model, owner.guide


PROGRAMS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "methods": lambda: methods(Tutorial()),
    "functions": lambda: functions()[:2],
    "scaled": scaled,
    "subsampled": subsampled,
    "global and local": global_and_local,
    "batch normalization": normalized,
}


@pytest.mark.parametrize("compile", COMPILERS)
@pytest.mark.parametrize("elbo", few([Trace_ELBO, TraceMeanField_ELBO], 2))
@pytest.mark.parametrize("name", few(PROGRAMS, 8))
def test_anybodys_programs(name: str, elbo: type[ELBO], compile: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(ROWS, COLUMNS)
    model, guide = PROGRAMS[name]()
    loss = capture(model, guide, elbo(), x, compile=compile)
    want = value_and_gradients(loss.module, x)
    got = value_and_gradients(loss, x)
    assert loss.reason == ""
    for one, other in zip(want[0] + want[1], got[0] + got[1], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    # It is the value of Pyro for the programs.
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    assert float(got[0][0]) == pytest.approx(cast("Any", elbo()).loss(model, guide, x), rel=1e-4)
    pyro.clear_param_store()


@pytest.mark.slow
@pytest.mark.parametrize("compile", COMPILERS)
def test_the_score_function_estimator(compile: bool) -> None:
    x = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    loss = capture(*discrete(), Trace_ELBO(), x, compile=compile)
    want, got = value_and_gradients(loss.module, x), value_and_gradients(loss, x)
    assert loss.reason == ""
    for one, other in zip(want[0] + want[1], got[0] + got[1], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    assert bool(got[1][0].ne(0))  # the guide's parameter has a gradient by the score only


@pytest.mark.slow
def test_running_means_move_as_they_do_uncaptured() -> None:
    x = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    means = []
    for compile_or_not in (False, True):
        loss = capture(*normalized(), Trace_ELBO(), x, compile=False)
        loss.enabled = compile_or_not
        for _ in range(3):
            loss(x)
        means.append({name: b.clone() for name, b in loss.named_buffers()})
        loss.eval()
        loss(x)
        assert all(torch.equal(b, means[-1][name]) for name, b in loss.named_buffers())
    assert means[0].keys() == means[1].keys()
    assert any("running_mean" in name and bool(b.ne(0).any()) for name, b in means[1].items())
    for name, buffer in means[0].items():
        torch.testing.assert_close(means[1][name], buffer)


@pytest.mark.slow
def test_gradients_are_unbiased() -> None:
    """Compared with the gradient of the exact bound of a linear-Gaussian pair."""
    w, a, s = 0.8, 0.5, 0.7
    x = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor) -> None:
        weight = pyro.param("w", torch.tensor(w))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(weight * z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        weight = pyro.param("a", torch.tensor(a))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(weight * x, s).to_event(1))

    # loss = sum 1/2 ((x - w a x)^2 + w^2 s^2) + 1/2 (a^2 x^2 + s^2 - 1 - log s^2) + constant
    square = float((x**2).sum())
    exact = (-(1 - w * a) * a * square + ROWS * w * s**2, -(1 - w * a) * w * square + a * square)
    for elbo in (Trace_ELBO(), TraceMeanField_ELBO()):
        loss = capture(model, guide, elbo, x, compile=False)
        own = dict(cast("Any", loss.module).pair.params)
        pyro.set_rng_seed(0)
        draws = torch.stack(
            [torch.stack(torch.autograd.grad(loss(x), [own["w"], own["a"]])) for _ in range(500)]
        )
        error = draws.std(0) / len(draws) ** 0.5
        assert bool(((draws.mean(0) - torch.tensor(exact)).abs() < 4 * error).all())


@pytest.mark.slow
def test_particles_that_pyro_vectorizes() -> None:
    """Pyro counts the plates in the first call, with its own noise."""
    x = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True)
    owner = Tutorial()

    def model(x: Tensor) -> None:
        pyro.module("decoder", owner.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("obs", dist.Normal(owner.decoder(z), 1.0).to_event(1), obs=x)

    loss = capture(model, owner.guide, elbo, x, compile=False)
    want, got = value_and_gradients(loss.module, x), value_and_gradients(loss, x)
    assert loss.reason == ""
    assert all(map(torch.allclose, want[0] + want[1], got[0] + got[1]))
