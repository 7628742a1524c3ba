"""Laws of pairs: programs of any kind, their parameters, and unchanged state of Pyro."""

from typing import Any, cast

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule, PyroParam
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae import data
from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.errors import InputError
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair, named_arguments
from ppvae.training.evaluation import evaluate
from tests.support.plain_programs import COLUMNS, Tutorial, functions


def batch(n: int = 6) -> dict[str, Tensor]:
    return {"x": torch.randn(n, COLUMNS, generator=torch.Generator().manual_seed(0))}


def our_pair(latent: int = 2) -> Pair:
    torch.manual_seed(0)
    return Pair(
        VAE(StandardNormal(latent), Gaussian((COLUMNS,), variance=1.0)),
        MeanField(latent, (COLUMNS,)),
        batch(),
    )


def bound_of(pair: Pair, **extras: Tensor) -> Bound:
    return Bound(pair, Trace_ELBO, audit(pair, Trace_ELBO, {**batch(), **extras}))


def test_modules_are_the_pair_and_each_parameter_is_in_it_once() -> None:
    model = VAE(StandardNormal(2), Gaussian((COLUMNS,), variance="learned"))
    guide = MeanField(2, (COLUMNS,))
    pair = Pair(model, guide, batch())
    assert pair.model is model
    assert pair.program("guide") is guide
    want = {id(p) for p in [*model.parameters(), *guide.parameters()]}
    assert {id(p) for p in pair.parameters()} == want
    assert len(list(pair.parameters())) == len(want)
    assert not pair.params


def test_bound_methods_with_pyro_module() -> None:
    owner = Tutorial()
    pair = Pair(owner.model, owner.guide, batch())
    assert {id(p) for p in pair.parameters()} == {id(p) for p in owner.parameters()}
    bound = bound_of(pair)
    bound(batch()).objective.backward()
    assert all(p.grad is not None and bool(p.grad.ne(0).any()) for p in owner.parameters())


def test_functions_with_parameters_constrained_and_shared() -> None:
    model, guide, network = functions()
    pair = Pair(model, guide, batch())
    assert set(pair.params) == {"shared", "noise/scale"}
    assert float(pair.params["noise/scale"].detach().exp()) == pytest.approx(2.0)
    assert {id(p) for p in network.parameters()} < {id(p) for p in pair.parameters()}
    bound = bound_of(pair)
    torch.manual_seed(0)
    bound(batch()).objective.backward()
    assert all(p.grad is not None and bool(p.grad.ne(0).any()) for p in pair.parameters())

    # The gradients of guide and model by the shared parameter add up.
    def slope(role: str) -> float:
        with torch.no_grad():
            trace: Any = poutine.trace(getattr(pair, f"call_{role}")).get_trace(**batch())
        return float(trace.nodes["shared"]["value"].detach())

    with torch.no_grad():
        pair.params["shared"].fill_(-4.0)
        pair.params["noise/scale"].fill_(0.0)
    assert slope("model") == slope("guide") == -4.0
    trace: Any = poutine.trace(pair.call_model).get_trace(**batch())
    assert float(trace.nodes["noise.scale"]["value"].detach()) == 1.0


@pytest.mark.parametrize("name", ["half", "type", "train", "keys", "a.b"])
def test_a_parameter_may_be_called_as_a_method_of_modules_is(name: str) -> None:
    def model(x: Tensor) -> None:
        width = pyro.param(name, torch.tensor(2.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[..., None], width).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    pair = Pair(model, guide, batch())
    (parameter,) = pair.parameters()
    with torch.no_grad():
        parameter.fill_(3.0)
    fn: Any = poutine.trace(pair.call_model).get_trace(**batch()).nodes["x"]["fn"]
    assert float(fn.base_dist.scale.detach().flatten()[0]) == pytest.approx(torch.tensor(3.0).exp())
    again = Pair(model, guide, batch())
    again.load_state_dict(pair.state_dict())
    assert torch.equal(next(again.parameters()), parameter)


def test_the_gradient_of_a_shared_parameter_is_that_of_both_uses() -> None:
    model, guide, network = functions()
    pair = Pair(model, guide, batch())
    x = batch()["x"]
    pair.zero_grad()
    Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, batch()))(
        batch(), 1e6
    ).objective.backward()
    # The KL, (loc(x) + shared - shared)^2 / 2, does not move with it: what is left is the
    # reconstruction's, tiny beside 1e6.
    grad = pair.params["shared"].grad
    assert grad is not None
    weight = network.weight.grad
    assert weight is not None
    kl_slope = (network(x) * x).sum(0).detach()  # d KL / d weight, by hand
    torch.testing.assert_close(weight[0], -1e6 * kl_slope, rtol=1e-3, atol=100.0)
    assert abs(float(grad)) < 100


class Inner(PyroModule):
    """A program with a parameter called ``scale`` and a layer called ``net``."""

    def __init__(self, observes: bool) -> None:
        super().__init__()
        sizes = (1, COLUMNS) if observes else (COLUMNS, 1)
        self.net = cast("Any", PyroModule[nn.Linear])(*sizes)
        self.scale: Any = PyroParam(torch.tensor(1.0 + observes), constraint=constraints.positive)
        self.observes = observes

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            if self.observes:
                z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(self.net(z), self.scale).to_event(1), obs=x)
            else:
                pyro.sample("z", dist.Normal(self.net(x), self.scale).to_event(1))


def test_two_modules_with_equal_parameter_names_are_not_fused() -> None:
    model, guide = Inner(True), Inner(False)
    pair = Pair(model, guide, batch())
    assert len(list(pair.parameters())) == 6
    assert not pair.params
    bound = bound_of(pair)
    optimizer = torch.optim.SGD(pair.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (-bound(batch()).objective).backward()
        optimizer.step()
    assert float(model.scale.detach()) > 1.5 > float(guide.scale.detach())
    assert all(p.grad is not None and bool(p.grad.ne(0).any()) for p in pair.parameters())


@pytest.mark.parametrize("is_filled", [False, True])
def test_pyros_store_is_left_as_it_was(is_filled: bool) -> None:
    pyro.clear_param_store()
    store = pyro.get_param_store()
    try:
        if is_filled:
            # A parameter of the same name with another value.
            pyro.param("shared", torch.tensor(9.0))
        before = {name: float(value.detach()) for name, value in store.items()}
        model, guide, _ = functions()
        pair = Pair(model, guide, batch())
        assert float(pair.params["shared"].detach()) == pytest.approx(0.3)
        bound = bound_of(pair)
        bound(batch()).objective.backward()
        assert {name: float(value.detach()) for name, value in store.items()} == before
    finally:
        pyro.clear_param_store()


def test_a_state_dict_carries_everything() -> None:
    def fresh(seed: int) -> Pair:
        torch.manual_seed(seed)
        model, guide, _ = functions()
        return Pair(model, guide, batch())

    one, two = fresh(1), fresh(2)
    with torch.no_grad():
        for p in one.parameters():
            p.add_(0.1)

    def value(pair: Pair) -> float:
        bound = bound_of(pair)
        torch.manual_seed(0)
        return float(bound(batch()).objective.detach())

    assert value(one) != value(two)
    two.load_state_dict(one.state_dict())
    assert value(one) == value(two)
    assert set(one.state_dict()) == {
        "params.shared",
        "params.noise/scale",
        "guide.uses.0.weight",
        "guide.uses.0.bias",
    }


class Conditional(PyroModule):
    """A program with further arguments than x, which it records."""

    def __init__(self, is_model: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.is_model = is_model
        self.seen: dict[str, Tensor | None] = {}

    def draw(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0 * self.weight, 1.0))
            if self.is_model:
                pyro.sample("x", dist.Normal(z[..., None], 1.0).expand(x.shape).to_event(1), obs=x)


class TakesY(Conditional):
    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        self.seen = {"y": y}
        self.draw(x)


class TakesKeywords(Conditional):
    def forward(self, x: Tensor, *, mask: Tensor | None = None, y: Tensor) -> None:
        self.seen = {"y": y, "mask": mask}
        self.draw(x)


class TakesNothing(Conditional):
    def forward(self, x: Tensor) -> None:
        self.seen = {"called": x}
        self.draw(x)


def test_the_rest_of_a_batch_goes_to_whoever_names_it() -> None:
    y = torch.arange(6)
    extras = {"y": y, "mask": torch.ones(6, COLUMNS, dtype=torch.bool)}
    model, guide = TakesKeywords(True), TakesY(False)
    pair = Pair(model, guide, {**batch(), **extras})
    assert pair.names("model") == {"y", "mask"}
    assert pair.names("guide") == {"y"}
    model.seen = guide.seen = {}
    pair.call_model(**batch(), **extras)
    pair.call_guide(**batch(), **extras)
    assert model.seen["y"] is y
    assert model.seen["mask"] is extras["mask"]
    assert guide.seen["y"] is y
    bound_of(pair, **extras)({**batch(), **extras})
    plain = Pair(TakesNothing(True), TakesY(False), {**batch(), "y": y})
    assert plain.names("model") == frozenset()
    bound_of(plain, y=y)({**batch(), "y": y})


def test_names_of_functions_modules_and_methods() -> None:
    def program(
        x: Tensor, y: Tensor, /, mask: Tensor, *more: Tensor, size: int, **extras: Any
    ) -> None:
        pass

    assert named_arguments(program) == {"mask", "size"}  # y could not be given by name
    assert named_arguments(TakesY(True)) == {"y"}
    assert named_arguments(TakesKeywords(True)) == {"mask", "y"}
    assert named_arguments(TakesY(True).forward) == {"y"}
    assert named_arguments(Tutorial().model) == frozenset()


def test_covariates_are_brought_to_the_parameters_type_and_codes_are_not() -> None:
    model, guide = TakesY(True).double(), TakesY(False).double()
    for y, dtype in ((torch.zeros(6, 2), torch.float64), (torch.arange(6), torch.int64)):
        Pair(model, guide, {**batch(), "y": y})
        for program in (model, guide):
            assert program.seen["y"] is not None
            assert program.seen["y"].dtype == dtype
    ours = Pair(
        VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0)).double(),
        MeanField(2, (COLUMNS,)).double(),
        batch(),
    )
    assert bound_of(ours)(batch()).objective.dtype == torch.float64


def test_nothing_to_learn_is_refused() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z[..., None], 1.0).expand(x.shape).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(InputError, match=r"has a parameter to learn; make one with nn\.Parameter"):
        Pair(model, guide, batch())


def test_a_network_that_no_pyro_module_names_is_not_trained() -> None:
    _, guide, network = functions()
    frozen = nn.Linear(1, COLUMNS)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(frozen(z[..., None]), 1.0).to_event(1), obs=x)

    pair = Pair(model, guide, batch())
    ids = {id(p) for p in pair.parameters()}
    assert not ids & {id(p) for p in frozen.parameters()}
    assert ids >= {id(p) for p in network.parameters()}


def test_running_means_move_in_training_alone() -> None:
    def network(in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(in_shape[0]), MLP(in_shape, out_shape, hidden=()))

    x = batch(200)
    pair = Pair(
        VAE(StandardNormal(2), Gaussian((COLUMNS,), variance=1.0), network),
        MeanField(2, (COLUMNS,), network),
        x,
    )
    means = [(name, b) for name, b in pair.named_buffers() if "running_mean" in name]
    assert len(means) == 2
    bound = Bound(pair, Trace_ELBO, audit(pair, Trace_ELBO, x))
    evaluate(bound, data.from_arrays(x["x"].numpy()).train)
    assert all(bool(b.eq(0).all()) for _, b in means)
    assert all(m.training for m in pair.modules())
    bound(x)
    assert all(bool(b.ne(0).any()) for _, b in means)


def test_our_programs_are_pyros_own() -> None:
    pyro.clear_param_store()
    try:
        torch.manual_seed(0)
        x = (torch.rand(64, 5) < 0.8).float()
        model, guide = VAE(StandardNormal(2), Bernoulli((5,))), MeanField(2, (5,))
        optimizer = PyroOptim(torch.optim.Adam, {"lr": 1e-2})
        svi = SVI(model, guide, optimizer, TraceMeanField_ELBO())
        losses = [svi.step(x) for _ in range(60)]
        # From p = 1/2, 5 log 2 a row, most of the way to the entropy of a coin of 0.8, 2.50.
        assert sum(losses[:3]) / 3 > 64 * 3.3
        assert sum(losses[-10:]) / 10 < 64 * 2.9
    finally:
        pyro.clear_param_store()


def test_uncondition_generates_from_the_prior() -> None:
    pair = our_pair()
    assert isinstance(pair.model, VAE)
    layers = [m for m in pair.model.decoder.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        layers[-1].weight.zero_()
        layers[-1].bias.copy_(torch.tensor([1.0, -2.0, 5.0]))
    n = 20_000
    torch.manual_seed(0)
    drawn = poutine.uncondition(pair.model)(torch.full((n, COLUMNS), 77.0))
    error = 5 / n**0.5  # x ~ N(bias, I), whatever was handed in
    assert bool(((drawn.mean(0) - torch.tensor([1.0, -2.0, 5.0])).abs() < error).all())
    assert bool(((drawn.std(0) - 1).abs() < error).all())
