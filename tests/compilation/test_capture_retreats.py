"""Programs without a valid graph: never frozen, run uncompiled, and reported."""

import itertools
import random
import warnings
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO
from pyro.infer.enum import config_enumerate
from torch import Tensor, nn

from ppvae.compilation import Captured, capture
from ppvae.errors import InputError
from tests.support.captures import (
    COLUMNS,
    ROWS,
    bound_of,
    clean,
    data,
    pair_of,
    traces,
    value_and_gradients,
)

__all__ = ["clean", "traces"]  # fixtures


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
        (branching, r"depends on numbers in the tensors \(test_capture_retreats.py, line \d+\)"),
        (foreign_noise, "running it changes global 'GENERATOR', which a graph would freeze"),
        (wandering, "running it changes global 'TURNS', which a graph would freeze"),
    ],
)
def test_what_has_no_graph_is_run_as_it_is_and_says_why(model: Any, why: str) -> None:
    x = torch.randn(ROWS, COLUMNS)
    loss = capture(model, simple_guide, Trace_ELBO(), x)
    with pytest.warns(UserWarning, match=f"runs uncompiled: .*{why}"):
        answers = [loss(x) for _ in range(2)]  # the first may create state
    assert loss.reason
    assert all(map(torch.isfinite, answers))
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was reported before
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
    """A weight times a factor that a case defines."""

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
    [
        ("coin", "changes the random state of Python or NumPy, which a graph would freeze"),
        ("counter", "changes calls, which a graph would freeze"),
    ],
)
def test_what_python_decides_or_counts_is_not_frozen(case: str, why: str) -> None:
    for seed in range(4):
        random.seed(seed)
        weighed = Weighed(case)
        captured = Captured(weighed, compile=False)
        captured(torch.ones(2))  # the first call may create state
        with pytest.warns(UserWarning, match=why):
            captured(torch.ones(2))
        assert weighed.calls == (2 if case == "counter" else 0)


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

    monkeypatch.setattr("ppvae.compilation.native.compile_natively", broken)
    loss = Captured(bound_of(pair_of()))
    with pytest.warns(UserWarning, match="torch cannot compile it: no C.. compiler was found"):
        terms = loss({"x": data()}, 1.0)
    assert bool(terms.objective.isfinite())
