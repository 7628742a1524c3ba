"""Captured and eager programs: data, pairs, and the law that both compute the same numbers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from ppvae.bounds.audit import audit
from ppvae.bounds.objective import Bound
from ppvae.compilation import captured, step
from ppvae.compilation.captured import Captured
from ppvae.compilation.graphs import trace
from ppvae.guides import MeanField
from ppvae.models import VAE, Gaussian, StandardNormal
from ppvae.networks import MLP
from ppvae.programs import Pair

ROWS, COLUMNS = 6, 3


SMALL = partial(MLP, hidden=(8,))
FLAT = partial(MLP, hidden=())


Terms = tuple[Tensor, ...]


def data(shape: tuple[int, ...] = (COLUMNS,)) -> Tensor:
    """Zeros and ones, which are in the support of every likelihood."""
    return torch.rand(ROWS, *shape, generator=torch.Generator().manual_seed(0)).round()


def pair_of(
    likelihood: Callable[..., Any] = Gaussian,
    guide: Callable[..., Any] = MeanField,
    shape: tuple[int, ...] = (COLUMNS,),
    encoder: Any = SMALL,
    decoder: Any = FLAT,
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
    """Outputs of a module under a seed, and the gradient of its first output."""
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
    """Assert the law: eager and captured agree under the same noise, up to rounding."""
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


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tensors in each trace."""
    seen: list[int] = []

    def counted(function: Any, tensors: Any) -> Any:
        seen.append(len(tensors))
        return trace(function, tensors)

    monkeypatch.setattr("ppvae.compilation.captured.trace", counted)
    return seen


@pytest.fixture
def by_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the graph without compiling native code, which takes a minute."""
    monkeypatch.setattr("ppvae.compilation.step.compiled", lambda graph: graph)
    monkeypatch.setattr("ppvae.compilation.captured.compiled", lambda graph: graph)


@pytest.fixture
def kinds_of_traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each trace: of a step, or of a bound."""
    seen: list[str] = []
    for module in (step, captured):
        name = module.__name__.rpartition(".")[2]

        def counted(function: Any, tensors: Any, name: str = name, real: Any = module.trace) -> Any:
            seen.append(name)
            return real(function, tensors)

        monkeypatch.setattr(module, "trace", counted)
    return seen


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    pyro.clear_param_store()
