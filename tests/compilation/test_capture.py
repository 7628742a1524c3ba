"""Laws of captured programs: equal to eager ones, fresh noise, reported fallbacks."""

from functools import partial
from itertools import cycle, product
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO
from torch import Tensor, nn

from ppvae.bounds import ELBOS, ImportanceWeightedELBO
from ppvae.compilation import Captured, capture
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Bernoulli, ContinuousBernoulli, Gaussian, StandardNormal
from ppvae.networks import ConvDecoder, ConvEncoder
from tests.support.bounds import LINEAR
from tests.support.captures import (
    COLUMNS,
    COMPILERS,
    SMALL,
    assert_agree,
    bound_of,
    clean,
    data,
    pair_of,
    traces,
    value_and_gradients,
)
from tests.support.plain_programs import functions
from tests.support.slow import few

__all__ = ["clean", "traces"]  # fixtures

CAPTURED = [elbo for elbo in ELBOS if elbo is not TraceEnum_ELBO]
"""A bound that enumerates reads the shapes of its draws in each call, and runs uncompiled."""


LIKELIHOODS: dict[str, Any] = {
    "Bernoulli": Bernoulli,
    "ContinuousBernoulli": ContinuousBernoulli,
    "Gaussian": partial(Gaussian, variance=1.0),
    "learned Gaussian": partial(Gaussian, variance="learned"),
}
GUIDED = [*((MeanField, elbo) for elbo in CAPTURED), *((Delta, elbo) for elbo in LINEAR)]
PARTICLES = (1, 2)
# Each guide and bound with each number of particles, alternating likelihoods.
SOME = list(zip(cycle(LIKELIHOODS), product(GUIDED, PARTICLES), strict=False))
COMPILED = [each for i, each in enumerate(SOME) if i % 4 in (0, 3)]
OTHERS = [
    (name, guided)
    for name, guided in product(LIKELIHOODS, product(GUIDED, PARTICLES))
    if (name, guided) not in SOME
]


@pytest.mark.parametrize(
    ("likelihood", "guided", "compile"),
    [
        *few([(*each, False) for each in SOME], 20),
        *few([(*each, False) for each in OTHERS], 0, slow=4),
        *few([(*each, True) for each in COMPILED], 0, slow=2),
    ],
)
def test_every_model_guide_and_bound_is_captured_as_it_is(
    likelihood: str, guided: tuple[tuple[Any, type[ELBO]], int], compile: bool
) -> None:
    (guide, elbo), particles = guided
    pair = pair_of(LIKELIHOODS[likelihood], guide)
    assert_agree(bound_of(pair, elbo, particles), {"x": data()}, 0.7, compile=compile)


@pytest.mark.slow
@pytest.mark.parametrize("compile", COMPILERS)
def test_convolutions(compile: bool) -> None:
    shape = (1, 8, 8)
    pair = pair_of(Bernoulli, MeanField, shape, ConvEncoder, ConvDecoder)
    batch = {"x": data(shape)}
    assert_agree(bound_of(pair, x=batch["x"]), batch, 1.0, compile=compile)


@pytest.mark.slow
def test_beta_of_zero() -> None:
    assert_agree(bound_of(pair_of()), {"x": data()}, 0.0)


@pytest.mark.slow
def test_double_precision() -> None:
    bound = bound_of(pair_of(Bernoulli)).double()
    captured = Captured(bound, compile=False)
    want, got = (value_and_gradients(m, {"x": data()}, 0.3) for m in (bound, captured))
    assert all(map(torch.equal, want[1], got[1]))
    assert got[0][0].dtype == torch.float64


@pytest.mark.slow
def test_mixed_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_agree(bound_of(pair_of()), {"x": data()}, 1.0)
    bound = bound_of(pair_of())
    captured = Captured(bound, compile=False)
    plain = value_and_gradients(captured, {"x": data()}, 1.0)[0][0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = value_and_gradients(captured, {"x": data()}, 1.0)[0][0]
    assert not torch.equal(plain, mixed)  # autocast is part of the signature
    assert float(plain) == pytest.approx(float(mixed), rel=0.02)


# Noise.


@pytest.mark.slow
@pytest.mark.parametrize("compile", COMPILERS)
def test_noise_is_fresh_in_each_call_and_a_function_of_the_seed(compile: bool) -> None:
    bound = bound_of(pair_of())
    captured = Captured(bound, compile=compile)
    pyro.set_rng_seed(0)
    first = [float(captured({"x": data()}, 1.0).objective.detach()) for _ in range(5)]
    assert len(set(first)) == 5
    pyro.set_rng_seed(0)
    assert [float(captured({"x": data()}, 1.0).objective.detach()) for _ in range(5)] == first
    pyro.set_rng_seed(0)
    eager = [float(bound({"x": data()}, 1.0).objective.detach()) for _ in range(5)]
    assert eager == pytest.approx(first, rel=1e-5)


def test_tracing_draws_nothing_changes_nothing_and_leaves_no_trace() -> None:
    pyro.clear_param_store()
    pyro.param("mine", torch.ones(2))
    loss = capture(*functions()[:2], Trace_ELBO(), data(), compile=False)
    before = {name: p.detach().clone() for name, p in loss.named_parameters()}
    pyro.set_rng_seed(0)
    loss(data())
    after_first = torch.get_rng_state()
    pyro.set_rng_seed(0)
    loss(data())  # without a trace
    assert torch.equal(torch.get_rng_state(), after_first)
    assert all(torch.equal(p, before[name]) for name, p in loss.named_parameters())
    assert list(pyro.get_param_store().keys()) == ["mine"]
    assert torch.distributions.Distribution.__dict__["_validate_args"] is True
    pyro.clear_param_store()


# A module like any other.


def test_its_parameters_and_state_are_the_programs() -> None:
    model, guide = (
        VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), SMALL),
        MeanField(2, (COLUMNS,), SMALL),
    )
    loss = capture(model, guide, Trace_ELBO(), data(), compile=False)
    own = {id(p) for p in [*model.parameters(), *guide.parameters()]}
    assert {id(p) for p in loss.parameters()} == own
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-2)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        value = loss(data())
        value.backward()
        nn.utils.clip_grad_norm_(loss.parameters(), 10.0)
        optimizer.step()
        losses.append(float(value.detach()))
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.3
    other = capture(
        VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), SMALL),
        MeanField(2, (COLUMNS,), SMALL), Trace_ELBO(), data(), compile=False,
    )  # fmt: skip
    other.load_state_dict(loss.state_dict())
    assert torch.equal(
        value_and_gradients(other, data())[0][0], value_and_gradients(loss, data())[0][0]
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*was not registered in the param store")  # Pyro's
def test_weights_that_were_frozen_or_moved_are_seen() -> None:
    pair = pair_of()
    loss = Captured(bound_of(pair), compile=False)
    loss({"x": data()}, 1.0)
    pair.guide.requires_grad_(False)
    value_and_gradients(loss, {"x": data()}, 1.0)
    with torch.no_grad():
        for p in pair.parameters():
            p.add_(0.1)
    want, got = (value_and_gradients(m, {"x": data()}, 1.0) for m in (loss.module, loss))
    assert torch.allclose(want[0][0], got[0][0], rtol=1e-5)


@pytest.mark.slow
def test_dropout_is_of_training_alone() -> None:
    network = nn.Sequential(nn.Linear(2, 64), nn.Dropout(0.5), nn.Linear(64, COLUMNS))
    x = data()

    def model(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(network(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(torch.zeros(len(x), 2), event_dim=1))

    loss = capture(model, guide, Trace_ELBO(), x, compile=False)
    assert not torch.equal(loss(x), loss(x))
    loss.eval()
    assert torch.equal(loss(x), loss(x))
    loss.train()
    assert not torch.equal(loss(x), loss(x))


class Weighed(nn.Module):
    """A bound with few operations, for fast traces."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch: dict[str, Tensor], beta: float) -> Tensor:
        return (batch["x"] * self.weight).sum() * beta


@pytest.mark.slow
def test_a_trace_per_signature_and_none_for_a_number(traces: list[int]) -> None:
    captured = Captured(Weighed(), compile=False)
    values = {float(captured({"x": data()}, beta).detach()) for beta in (0.0, 0.5, 1.0)}
    assert len(values) == 3
    assert len(traces) == 1
    captured({"x": data()[:4]}, 1.0)
    assert len(traces) == 2
    captured.eval()
    captured({"x": data()}, 1.0)
    assert len(traces) == 3
    with torch.no_grad():
        captured({"x": data()}, 1.0)
    assert len(traces) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "likelihood",
    few(
        [
            Bernoulli,
            ContinuousBernoulli,
            partial(Gaussian, variance=1.0),
            partial(Gaussian, variance="learned"),
        ],
        4,
    ),
    ids=["Bernoulli", "ContinuousBernoulli", "Gaussian", "learned Gaussian"],
)
@pytest.mark.parametrize("vectorize", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_importance_weighted_bound_is_captured_as_it_is(
    likelihood: Any, vectorize: bool
) -> None:
    pair = pair_of(likelihood)
    make: Any = ImportanceWeightedELBO  # Pyro's constructors have no types
    elbo = make(num_particles=2, vectorize_particles=vectorize)
    loss = capture(pair.program("model"), pair.program("guide"), elbo, data(), compile=False)
    want, got = value_and_gradients(loss.module, data()), value_and_gradients(loss, data())
    assert loss.reason == ""
    for one, other in zip(want[0] + want[1], got[0] + got[1], strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=2e-5)
