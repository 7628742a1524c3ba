"""Laws of the captured training step."""

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor
from torch.optim import Optimizer

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.compilation.graphs import NotStatic
from ppvae.compilation.step import CapturedStep
from ppvae.guides import MeanField
from ppvae.models import VAE, Bernoulli, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair
from tests.support.captures import clean, kinds_of_traces

__all__ = ["clean", "kinds_of_traces"]  # fixtures

ROWS = 16
GREY = torch.rand(ROWS, 5, generator=torch.Generator().manual_seed(0))


def bound_of() -> Bound:
    pyro.set_rng_seed(0)
    network = partial(MLP, hidden=())  # few weights, for each has operations of its own in a trace
    batch = {"x": GREY.round()}
    model = VAE(StandardNormal(2), Bernoulli((5,)), network)
    pair = Pair(model, MeanField(2, (5,), network), batch)
    return Bound(pair, TraceMeanField_ELBO, audit(pair, TraceMeanField_ELBO, batch))


def binarized(grey: Tensor) -> dict[str, Tensor]:
    return {"x": (torch.rand_like(grey) < grey).to(grey.dtype)}


def step_of(bound: Bound, optimizer: Optimizer, clip: float | None = None) -> CapturedStep:
    return CapturedStep(
        bound, optimizer, binarized, per=1 / ROWS, clip=clip, context=nullcontext, compile=False
    )


def plain_step(bound: Bound, optimizer: Optimizer, beta: float, clip: float | None = None) -> None:
    """The eager step, for comparison."""
    optimizer.zero_grad()
    (-bound(binarized(GREY), beta).objective / ROWS).backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(bound.parameters(), clip)
    optimizer.step()


def sums() -> Tensor:
    return torch.zeros(5, dtype=torch.float64)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "Adamax": torch.optim.Adamax,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "ASGD": torch.optim.ASGD,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "RMSprop": torch.optim.RMSprop,
    "Rprop": torch.optim.Rprop,
    "SGD": torch.optim.SGD,
    "SGD with momentum": lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9),
    "AMSGrad": lambda params, lr: torch.optim.Adam(params, lr, amsgrad=True, weight_decay=0.1),
}


USUAL = ("Adam", "SGD with momentum")
"""Optimizers of the default tests; the others are slow tests."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in USUAL else pytest.mark.slow) for n in OPTIMIZERS],
)
def test_a_captured_step_is_the_step(name: str) -> None:
    one, other = bound_of().double(), bound_of().double()
    optimizers = [OPTIMIZERS[name](b.parameters(), lr=1e-2) for b in (one, other)]
    pyro.set_rng_seed(1)
    for beta in (0.3, 0.6, 1.0, 1.0):
        plain_step(one, optimizers[0], beta, clip=2.0)
    pyro.set_rng_seed(1)
    plain_step(other, optimizers[1], 0.3, clip=2.0)
    step = step_of(other, optimizers[1], clip=2.0)
    for beta in (0.6, 1.0, 1.0):
        step(GREY, beta, sums())
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        # Torch keeps the number of steps, and so the bias corrections, in single precision.
        torch.testing.assert_close(q, p, rtol=1e-4, atol=1e-5)
    # The state of the optimizer is also that of an eager step.
    for optimizer, bound in zip(optimizers, (one, other), strict=True):
        pyro.set_rng_seed(2)
        plain_step(bound, optimizer, 1.0)
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert states[0].keys() == states[1].keys()
    for number, slot in states[0].items():
        for key, value in slot.items():
            torch.testing.assert_close(states[1][number][key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_each_step_sees_noise_of_its_own() -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.0)
    step, seen = step_of(bound, optimizer), []
    for _ in range(6):
        total = sums()
        step(GREY, 1.0, total)
        seen.append(float(total[0]))
    assert len(set(seen)) == 6


@pytest.mark.slow
def test_the_learning_rate_is_an_input() -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.1)
    step = step_of(bound, optimizer)
    moved = []
    for lr in (0.1, 0.2, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        before = [p.detach().clone() for p in bound.parameters()]
        pyro.set_rng_seed(0)
        start = copy.deepcopy(bound.state_dict())
        step(GREY, 1.0, sums())
        moved.append(
            sum(
                float((p - b).detach().norm())
                for p, b in zip(bound.parameters(), before, strict=True)
            )
        )
        bound.load_state_dict(start)
    assert moved[1] == pytest.approx(2 * moved[0], rel=1e-3)
    assert moved[2] == 0


@pytest.mark.slow
def test_frozen_weights_stay_and_the_others_move() -> None:
    bound = bound_of()
    bound.pair.model.requires_grad_(False)
    moving = [p for p in bound.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(moving, lr=0.1)
    kept = copy.deepcopy(bound.pair.model.state_dict())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was not registered in the param store")  # Pyro's
        plain_step(bound, optimizer, 1.0)
        before = [p.detach().clone() for p in moving]
        step_of(bound, optimizer)(GREY, 1.0, sums())
    assert all(torch.equal(v, kept[k]) for k, v in bound.pair.model.state_dict().items())
    assert all(bool(p.ne(b).any()) for p, b in zip(moving, before, strict=True))


class Counting(torch.optim.SGD):
    """An optimizer that counts in Python, which a graph would freeze."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["count"] = self.state[p].get("count", 0) + 1
                p.data.add_(p.grad, alpha=-group["lr"] / self.state[p]["count"])


def test_an_optimizer_that_counts_in_python_is_refused() -> None:
    bound = bound_of()
    optimizer = Counting(bound.parameters(), lr=0.1)
    plain_step(bound, optimizer, 1.0)
    before = copy.deepcopy(bound.state_dict())
    with pytest.raises(NotStatic, match="counts 'count' outside of tensors"):
        step_of(bound, optimizer)(GREY, 1.0, sums())
    assert all(torch.equal(v, before[k]) for k, v in bound.state_dict().items())
    assert optimizer.state[next(bound.parameters())]["count"] == 1


class Clocked(torch.optim.SGD):
    """An optimizer with its own counter."""

    clock = 0

    def step(self, closure: Any = None) -> Any:
        self.clock = self.clock + 1
        return super().step(closure)


class Remembering(torch.optim.SGD):
    """An optimizer with a list in its state."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("past", []).append(p.grad.clone())
        return super().step(closure)


@pytest.mark.slow
def test_what_a_graph_would_pass_over_is_refused_and_nothing_is_harmed() -> None:
    bound = bound_of()
    clocked = Clocked(bound.parameters(), lr=0.1)
    plain_step(bound, clocked, 1.0)
    with pytest.raises(NotStatic, match="counts in its attributes"):
        step_of(bound, clocked)(GREY, 1.0, sums())
    assert clocked.clock == 1

    remembering = Remembering(bound.parameters(), lr=0.1)
    plain_step(bound, remembering, 1.0)
    with pytest.raises(NotStatic, match="more than tensors and numbers"):
        step_of(bound, remembering)(GREY, 1.0, sums())
    assert all(len(slot["past"]) == 1 for slot in remembering.state.values())

    hooked = torch.optim.SGD(bound.parameters(), lr=0.1)
    handle = hooked.register_step_post_hook(lambda *_: None)
    with pytest.raises(NotStatic, match="step has hooks"):
        step_of(bound, hooked)(GREY, 1.0, sums())
    handle.remove()
    weight = next(bound.parameters())
    handle = weight.register_hook(lambda gradient: gradient * 0)
    with pytest.raises(NotStatic, match="hooks on its gradient"):
        step_of(bound, hooked)(GREY, 1.0, sums())
    handle.remove()
    step_of(bound, hooked)(GREY, 1.0, sums())


@pytest.mark.slow
def test_a_weight_that_is_frozen_later_stays(kinds_of_traces: list[str]) -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.1)
    step, weight = step_of(bound, optimizer), next(bound.parameters())
    step(GREY, 1.0, sums())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was not registered in the param store")  # Pyro's
        weight.requires_grad_(False)
        before = weight.clone()
        step(GREY, 1.0, sums())
        assert torch.equal(weight, before)
    weight.requires_grad_(True)
    step(GREY, 1.0, sums())
    assert not torch.equal(weight, before)
    assert kinds_of_traces == ["step"] * 2  # that of the weight as it first was is still there


def test_a_state_that_is_not_there_yet_is_refused() -> None:
    bound = bound_of()
    with pytest.raises(NotStatic, match="makes new state"):
        step_of(bound, torch.optim.Adam(bound.parameters()))(GREY, 1.0, sums())


@pytest.mark.slow
def test_settings_that_change_are_refused() -> None:
    bound = bound_of()
    optimizer = torch.optim.SGD(bound.parameters(), lr=0.1, momentum=0.9)
    plain_step(bound, optimizer, 1.0)
    step = step_of(bound, optimizer)
    step(GREY, 1.0, sums())
    optimizer.param_groups[0]["momentum"] = 0.8
    with pytest.raises(NotStatic, match="more of the optimizer than the learning rate"):
        step(GREY, 1.0, sums())
