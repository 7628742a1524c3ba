"""A captured program always computes the same as the program."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ppvae.compilation import Captured, capture
from ppvae.compilation.beginning import Begun, Noise
from ppvae.compilation.disagreement import disagreement
from ppvae.errors import InputError
from tests.support.captures import COMPILERS, clean, data, traces, value_and_gradients
from tests.support.counters_in_python import COUNTERS
from tests.support.python_state import Guide, Model
from tests.support.settings_in_python import HANDLES, SETTINGS
from tests.support.slow import few

__all__ = ["clean", "traces"]  # fixtures


@pytest.fixture(autouse=True)
def unhooked() -> Iterator[None]:
    yield
    while HANDLES:
        HANDLES.pop().remove()


def captured(model: nn.Module, **options: Any) -> Captured:
    return capture(model, Guide(), Trace_ELBO(), data(), **options)


def assert_alike(one: Captured, seed: int) -> None:
    """Captured, then eager from the same state: equal values and gradients."""
    got = value_and_gradients(one, data(), seed=seed)
    want = value_and_gradients(one.module, data(), seed=seed)
    assert len(got[1]) == len(want[1])
    for a, b in zip(got[0] + got[1], want[0] + want[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compile", COMPILERS)
@pytest.mark.parametrize("name", few(SETTINGS, 32, slow=2))
def test_what_was_changed_is_seen_at_the_very_next_call(name: str, compile: bool) -> None:
    model, change = SETTINGS[name]()
    loss = captured(model, compile=compile, check=0)
    for seed in range(3):
        assert_alike(loss, seed)
    before = value_and_gradients(loss, data(), seed=3)[0][0]
    change()
    assert_alike(loss, 3)
    assert loss.reason == ""
    after = value_and_gradients(loss, data(), seed=3)
    assert not torch.equal(before, after[0][0])
    assert all(bool(g.ne(0).any()) for g in after[1])  # of the new parameters too
    assert {id(p) for p in loss.parameters()} >= {id(p) for p in model.parameters()}


@pytest.mark.parametrize("compile", COMPILERS)
@pytest.mark.parametrize("name", few(COUNTERS, 6, slow=2))
def test_a_program_that_counts_is_run_as_it_is(name: str, compile: bool) -> None:
    counter, results = COUNTERS[name], []
    for enabled in (False, True):
        loss = captured(counter.make(), compile=compile)
        loss.enabled = enabled
        is_told = enabled and counter.path
        words = "runs uncompiled: running it changes"
        with pytest.warns(UserWarning, match=words) if is_told else nullcontext():
            results.append([value_and_gradients(loss, data(), seed=i) for i in range(8)])
    for (one, ones), (other, others) in zip(*results, strict=True):
        for a, b in zip(one + ones, other + others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    if counter.path:
        assert loss.reason == f"running it changes {counter.path}, which a graph would freeze"
    else:
        assert loss.reason == ""
        assert dict(loss.named_buffers())["module.pair.model.count"] == 8


HIDDEN = {"scale": 1.0}


def hidden(self: Any) -> float:
    """A factor that cannot be found in the code."""
    found: float = vars(sys.modules[__name__])["HID" + "DEN"]["scale"]
    return found


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the hidden factor, for one test."""
    return lambda value: monkeypatch.setitem(HIDDEN, "scale", value)


@pytest.mark.parametrize("compile", COMPILERS)
@pytest.mark.parametrize(("check", "call"), few([(512, 4), (1, 6), (5, 5)], 3))
def test_what_cannot_be_seen_is_found_by_computing_both(
    check: int, call: int, compile: bool, scale: Callable[[float], None]
) -> None:
    loss = captured(Model(hidden), check=check, compile=compile)
    for seed in range(call - 1):
        assert_alike(loss, seed)
    scale(0.1)
    eager = value_and_gradients(loss.module, data(), seed=9)
    with pytest.warns(UserWarning, match="computes something else than the program") as told:
        got = value_and_gradients(loss, data(), seed=9)
    assert all(map(torch.equal, got[0] + got[1], eager[0] + eager[1]))
    assert f"the gradient of model.net.weight differs at call {call}" in str(told[0].message)
    assert torch.equal(*(value_and_gradients(m, data())[0][0] for m in (loss, loss.module)))


def test_a_check_can_be_switched_off(scale: Callable[[float], None]) -> None:
    loss = captured(Model(hidden), check=0, compile=False)
    loss(data())
    scale(0.1)
    for _ in range(8):
        loss(data())
    assert loss.reason == ""
    with pytest.raises(InputError, match="check is -1"):
        captured(Model(), check=-1)


@pytest.mark.slow
def test_a_check_draws_no_noise_and_leaves_buffers_alone() -> None:
    after = []
    for check in (0, 1):
        loss = captured(COUNTERS["buffer"].make(), compile=False, check=check)
        torch.manual_seed(1)
        values = [float(loss(data()).detach()) for _ in range(7)]
        after.append((values, torch.get_rng_state().tolist(), dict(loss.named_buffers())))
    assert after[0] == after[1]


def test_a_handler_around_a_call_is_heeded() -> None:
    loss = captured(Model(), compile=False)
    plain = value_and_gradients(loss, data())[0][0]
    with pyro.poutine.scale(scale=0.5):
        torch.testing.assert_close(value_and_gradients(loss, data())[0][0], 0.5 * plain)
    assert torch.equal(value_and_gradients(loss, data())[0][0], plain)
    assert loss.reason == ""


def compared(
    program: Callable[[Tensor], Tensor], graph: Callable[[Tensor], Tensor]
) -> tuple[int | None, int]:
    """The result of comparing two functions of a weight, and the number of runs of the graph."""
    weight, calls = torch.linspace(0.1, 1, 10), list[int]()

    def by_graph(_: Any) -> list[Tensor | None]:
        calls.append(1)
        return [graph(weight)]

    noise = Noise(torch.device("cpu"))
    found: Any = ([program(weight)], [graph(weight)])
    place = disagreement(
        lambda params, _: [program(params[0])], by_graph, [weight], Begun(noise, []), found, 1e-7
    )
    return place, len(calls)


def test_rounding_is_no_difference_and_a_rare_one_is_forgiven() -> None:
    assert compared(torch.sin, torch.sin) == (None, 0)
    assert compared(torch.sin, lambda w: torch.sin(w) * (1 + 1e-6)) == (None, 0)
    assert compared(torch.sin, torch.cos) == (0, 1)
    nan = torch.full((10,), torch.nan)
    assert compared(lambda w: nan, lambda w: nan.clone()) == (None, 0)
    assert compared(lambda w: nan, torch.sin) == (0, 1)

    # Rounding noise differs as much as between two close weights.
    def rest(w: Tensor) -> Tensor:
        return (w * 3).sum() - w.sum() * 3 + w * 0

    assert compared(lambda w: rest(w * 1.01), lambda w: rest(w * 0.99))[0] is None
    # A threshold that rounding crosses, once.
    flips = iter([True])
    assert compared(torch.sin, lambda w: torch.sin(w) + next(flips, False)) == (None, 2)


def test_the_rest_of_a_cancellation_is_compared_with_the_largest_gradient() -> None:
    def place_of(*wrong: Tensor) -> int | None:
        params = [torch.ones(4), torch.ones(4)]
        right: Any = [torch.full((4,), 10.0), torch.full((4,), 1e-5), torch.tensor(1e-5)]
        found: Any = (right, [a + b for a, b in zip(right, wrong, strict=True)])
        begun = Begun(Noise(torch.device("cpu")), [])
        return disagreement(lambda *_: right, lambda _: found[1], params, begun, found, 1e-7)

    nothing, rest = torch.zeros(4), torch.full((4,), 1e-7)
    assert place_of(nothing, rest, torch.tensor(0.0)) is None
    assert place_of(nothing, 100 * rest, torch.tensor(0.0)) == 1
    assert place_of(nothing, nothing, torch.tensor(1e-7)) == 2  # not a gradient
