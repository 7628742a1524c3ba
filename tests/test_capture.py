"""Laws of captured programs: the numbers of eager ones, fresh noise, honest retreats."""

import itertools
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.enum import config_enumerate
from test_programs import Tutorial, functions
from torch import Tensor, nn

from ppvae.audit import audit
from ppvae.bounds import ImportanceWeightedELBO
from ppvae.capture import Captured, capture
from ppvae.errors import InputError
from ppvae.graphs import trace
from ppvae.guides import Delta, MeanField
from ppvae.models import VAE, Bernoulli, ContinuousBernoulli, Gaussian, StandardNormal
from ppvae.networks import MLP, ConvDecoder, ConvEncoder
from ppvae.objectives import ELBOS, LINEAR, Bound
from ppvae.programs import Pair

ROWS, COLUMNS = 6, 3
SMALL = partial(MLP, hidden=(8,))

Terms = tuple[Tensor, ...]


def data(shape: tuple[int, ...] = (COLUMNS,)) -> Tensor:
    """Zeros and ones: in the support of every likelihood."""
    return torch.rand(ROWS, *shape, generator=torch.Generator().manual_seed(0)).round()


def pair_of(
    likelihood: Callable[..., Any] = Gaussian,
    guide: Callable[..., Any] = MeanField,
    shape: tuple[int, ...] = (COLUMNS,),
    encoder: Any = SMALL,
    decoder: Any = SMALL,
) -> Pair:
    torch.manual_seed(0)
    model = VAE(StandardNormal(2), likelihood(shape), decoder)
    return Pair(model, guide(2, shape, encoder), {"x": data(shape)})


def bound_of(
    pair: Pair, elbo: type[ELBO] = TraceMeanField_ELBO, particles: int = 1, x: Tensor | None = None
) -> Bound:
    batch = {"x": data() if x is None else x}
    return Bound(pair, elbo, audit(pair, elbo, batch), particles)


def value_and_gradients(module: nn.Module, *args: Any, seed: int = 1) -> tuple[Terms, Terms]:
    """What a module gives under a seed, and the gradient of its first output."""
    pyro.set_rng_seed(seed)
    outputs = module(*args)
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    params = [p for p in module.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(outputs[0], params, allow_unused=True)
    return (
        tuple(o.detach() for o in outputs),
        tuple(torch.zeros(()) if g is None else g for g in gradients),
    )


def assert_agree(module: nn.Module, *args: Any, compile: bool = False) -> None:
    """The law: eager and captured, under the same noise, to rounding."""
    captured = Captured(module, compile=compile)
    want = value_and_gradients(module, *args)
    got = value_and_gradients(captured, *args)
    assert captured.reason == ""
    for one, other in zip(want[0] + want[1], got[0] + got[1], strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=2e-5)


COMPILERS = [
    pytest.param(False, id="graph"),
    pytest.param(True, id="compiled", marks=pytest.mark.slow),
]


CAPTURED = [elbo for elbo in ELBOS if elbo is not TraceEnum_ELBO]
"""One that enumerates looks at the shapes of its draws, call by call, and is run as it is."""


@pytest.mark.parametrize("compile", COMPILERS)
@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize(
    ("guide", "elbo"),
    [*((MeanField, elbo) for elbo in CAPTURED), *((Delta, elbo) for elbo in LINEAR)],
)
@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli, ContinuousBernoulli, Gaussian, partial(Gaussian, variance="learned")],
    ids=["Bernoulli", "ContinuousBernoulli", "Gaussian", "learned Gaussian"],
)
def test_every_model_guide_and_bound_is_captured_as_it_is(
    likelihood: Any, guide: Any, elbo: type[ELBO], particles: int, compile: bool
) -> None:
    pair = pair_of(likelihood, guide)
    assert_agree(bound_of(pair, elbo, particles), {"x": data()}, 0.7, compile=compile)


@pytest.mark.parametrize("compile", COMPILERS)
def test_convolutions(compile: bool) -> None:
    shape = (1, 8, 8)
    pair = pair_of(Bernoulli, MeanField, shape, ConvEncoder, ConvDecoder)
    batch = {"x": data(shape)}
    assert_agree(bound_of(pair, x=batch["x"]), batch, 1.0, compile=compile)


def test_beta_of_zero() -> None:
    assert_agree(bound_of(pair_of()), {"x": data()}, 0.0)


def test_double_precision() -> None:
    bound = bound_of(pair_of(Bernoulli)).double()
    captured = Captured(bound, compile=False)
    want, got = (value_and_gradients(m, {"x": data()}, 0.3) for m in (bound, captured))
    assert all(map(torch.equal, want[1], got[1]))
    assert got[0][0].dtype == torch.float64


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


# Anybody's programs.


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
    owner.encoder = network  # type: ignore[assignment]  # any network will do
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
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("name", PROGRAMS)
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
    # And it is what Pyro says of the programs themselves.
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    assert float(got[0][0]) == pytest.approx(cast("Any", elbo()).loss(model, guide, x), rel=1e-4)
    pyro.clear_param_store()


@pytest.mark.parametrize("compile", COMPILERS)
def test_the_score_function_estimator(compile: bool) -> None:
    x = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    loss = capture(*discrete(), Trace_ELBO(), x, compile=compile)
    want, got = value_and_gradients(loss.module, x), value_and_gradients(loss, x)
    assert loss.reason == ""
    for one, other in zip(want[0] + want[1], got[0] + got[1], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    assert bool(got[1][0].ne(0))  # the guide's parameter is reached by the score alone


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


def test_gradients_are_unbiased() -> None:
    """Against the gradient of the exact bound of a linear-Gaussian pair."""
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
            [torch.stack(torch.autograd.grad(loss(x), [own["w"], own["a"]])) for _ in range(1500)]
        )
        error = draws.std(0) / len(draws) ** 0.5
        assert bool(((draws.mean(0) - torch.tensor(exact)).abs() < 4 * error).all())


# Noise.


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
        VAE(StandardNormal(2), Gaussian((COLUMNS,)), SMALL),
        MeanField(2, (COLUMNS,), SMALL),
    )
    loss = capture(model, guide, Trace_ELBO(), data(), compile=False)
    own = {id(p) for p in [*model.parameters(), *guide.parameters()]}
    assert {id(p) for p in loss.parameters()} == own
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(data())
        value.backward()
        nn.utils.clip_grad_norm_(loss.parameters(), 10.0)
        optimizer.step()
        losses.append(float(value.detach()))
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.3
    other = capture(
        VAE(StandardNormal(2), Gaussian((COLUMNS,)), SMALL),
        MeanField(2, (COLUMNS,), SMALL), Trace_ELBO(), data(), compile=False,
    )  # fmt: skip
    other.load_state_dict(loss.state_dict())
    assert torch.equal(
        value_and_gradients(other, data())[0][0], value_and_gradients(loss, data())[0][0]
    )


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


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tensors each trace was of: as many entries as there were traces."""
    seen: list[int] = []

    def counted(function: Any, tensors: Any) -> Any:
        seen.append(len(tensors))
        return trace(function, tensors)

    monkeypatch.setattr("ppvae.capture.trace", counted)
    return seen


def test_a_trace_per_signature_and_none_for_a_number(traces: list[int]) -> None:
    captured = Captured(bound_of(pair_of()), compile=False)
    values = {float(captured({"x": data()}, beta).objective.detach()) for beta in (0.0, 0.5, 1.0)}
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


# Programs without one structure.


def branching(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        scale = 2.0 if x.mean() > 0 else 1.0
        z = pyro.sample("z", dist.Normal(torch.zeros(1), scale).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).expand([len(x), COLUMNS]).to_event(1), obs=x)


TURNS = itertools.count()
GENERATOR = np.random.default_rng(0)


def foreign_noise(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        shift = torch.tensor(GENERATOR.normal(), dtype=torch.float32)
        z = pyro.sample("z", dist.Normal(torch.zeros(1) + shift, 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).expand([len(x), COLUMNS]).to_event(1), obs=x)


def wandering(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        z = z if next(TURNS) % 2 else z.tanh()
        pyro.sample("x", dist.Normal(z, 1.0).expand([len(x), COLUMNS]).to_event(1), obs=x)


def simple_guide(x: Tensor) -> None:
    loc = pyro.param("loc", torch.zeros(1))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (branching, r"depends on numbers in the tensors \(test_capture.py, line \d+\)"),
        (foreign_noise, "draws numbers from elsewhere than torch"),
        (wandering, "changes from call to call"),
    ],
)
def test_what_has_no_graph_is_run_as_it_is_and_says_why(model: Any, why: str) -> None:
    x = torch.randn(ROWS, COLUMNS)
    loss = capture(model, simple_guide, Trace_ELBO(), x)
    with pytest.warns(UserWarning, match=f"runs uncompiled: .*{why}"):
        loss(x)
    assert loss.reason
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has been said
        for module in (loss, loss.module):
            GENERATOR.bit_generator.state = np.random.default_rng(0).bit_generator.state
            pyro.set_rng_seed(1)
            values.append(module(x))
            next(TURNS)
    assert torch.equal(*values)


def test_an_item_in_arithmetic_is_no_obstacle() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1) + x.mean().item(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).expand([len(x), COLUMNS]).to_event(1), obs=x)

    x = torch.randn(ROWS, COLUMNS)
    loss = capture(model, simple_guide, Trace_ELBO(), x, compile=False)
    loss(x)
    other = x + 3  # the number is read anew, not frozen
    got, want = (value_and_gradients(m, other)[0][0] for m in (loss, loss.module))
    assert loss.reason == ""
    torch.testing.assert_close(got, want)


def test_enumeration_is_run_as_it_is() -> None:
    def one_by_one(x: Tensor) -> None:
        weight = pyro.param("weight", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(torch.sigmoid(weight)))
            pyro.sample("x", dist.Normal(k, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pass

    model = config_enumerate(one_by_one)
    x = torch.randn(ROWS)
    loss = None
    with pytest.warns(UserWarning, match="it enumerates latents"):
        loss = capture(model, guide, TraceEnum_ELBO(max_plate_nesting=1), x)
    assert torch.equal(loss(x), loss.module(x))


def test_a_bound_without_a_differentiable_loss_is_refused() -> None:
    with pytest.raises(InputError, match="RenyiELBO has no differentiable_loss"):
        capture(branching, simple_guide, RenyiELBO(), data())


class Weighed(nn.Module):
    """A weight times what a case makes of it."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))
        self.case, self.temperature, self.calls = case, 1.0, 0
        self.count = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        factor: Any = 1.0
        if self.case == "attribute":
            factor = self.temperature
        elif self.case == "tensor attribute":
            self.count += 1
            factor = self.count
        elif self.case == "item before a change":
            factor = self.count.item()
            self.count += 1
        elif self.case == "coin":
            factor = 2.0 if random.random() < 0.5 else 1.0
        elif self.case == "counter":
            self.calls += 1
        weighed: Tensor = (self.w * factor * x).sum()
        return weighed


@pytest.mark.parametrize("case", ["tensor attribute", "item before a change"])
def test_a_tensor_that_is_a_plain_attribute_is_as_good_as_a_buffer(case: str) -> None:
    one, other = Weighed(case), Captured(Weighed(case), compile=False)
    for _ in range(3):
        assert torch.equal(one(torch.ones(2)), other(torch.ones(2)))
    assert torch.equal(cast("Weighed", other.module).count, one.count)
    cast("Weighed", other.module).count = torch.tensor(7.0)
    one.count = torch.tensor(7.0)
    assert torch.equal(one(torch.ones(2)), other(torch.ones(2)))
    assert other.reason == ""


def test_a_number_on_a_module_is_part_of_the_signature(traces: list[int]) -> None:
    weighed = Weighed("attribute")
    captured = Captured(weighed, compile=False)
    for value in (1.0, 0.5, 0.5, 1.0):
        weighed.temperature = value
        assert torch.equal(captured(torch.ones(2)), weighed(torch.ones(2)))
    assert len(traces) == 2
    for i in range(6):
        weighed.temperature = 2.0 + i
        captured(torch.ones(2))
    weighed.temperature = 0.0
    with pytest.warns(UserWarning, match="have changed 8 times"):
        value = captured(torch.ones(2))
    assert torch.equal(value, weighed(torch.ones(2)))


@pytest.mark.parametrize(
    ("case", "why"),
    [("coin", "draws numbers from elsewhere"), ("counter", "counts in an attribute")],
)
def test_what_python_decides_or_counts_is_not_frozen(case: str, why: str) -> None:
    for seed in range(4):
        random.seed(seed)
        captured = Captured(Weighed(case), compile=False)
        with pytest.warns(UserWarning, match=why):
            captured(torch.ones(2))


def test_particles_that_pyro_vectorizes() -> None:
    """Pyro counts the plates at the first call, by noise of its own."""
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


@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli, ContinuousBernoulli, Gaussian, partial(Gaussian, variance="learned")],
    ids=["Bernoulli", "ContinuousBernoulli", "Gaussian", "learned Gaussian"],
)
@pytest.mark.parametrize("vectorize", [False, True])
def test_the_importance_weighted_bound_is_captured_as_it_is(
    likelihood: Any, vectorize: bool
) -> None:
    pair = pair_of(likelihood)
    make: Any = ImportanceWeightedELBO  # Pyro's constructors have no types
    elbo = make(num_particles=4, vectorize_particles=vectorize)
    loss = capture(pair.program("model"), pair.program("guide"), elbo, data(), compile=False)
    want, got = value_and_gradients(loss.module, data()), value_and_gradients(loss, data())
    assert loss.reason == ""
    for one, other in zip(want[0] + want[1], got[0] + got[1], strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=2e-5)


def test_more_than_one_number_to_differentiate() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Mapping[str, Tensor]:
            return {"a": self.w * x, "b": self.w.sum()}

    two = Captured(Two())
    with pytest.warns(UserWarning, match="more than one number to differentiate"):
        assert set(two(torch.ones(3))) == {"a", "b"}


def test_a_compiler_that_fails_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr("ppvae.native.inductor_compile", broken)
    loss = Captured(bound_of(pair_of()))
    with pytest.warns(UserWarning, match="torch cannot compile it: no C.. compiler was found"):
        terms = loss({"x": data()}, 1.0)
    assert bool(terms.objective.isfinite())


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    pyro.clear_param_store()
